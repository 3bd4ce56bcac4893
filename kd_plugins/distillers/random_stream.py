from ..random_stream import RandomStream, get_random_state, set_random_state

__all__ = ['RandomStream', 'get_random_state', 'set_random_state']
