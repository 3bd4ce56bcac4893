from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kd_plugins.distillers.liveness import check_alive, copied, depends_on
from kd_plugins.errors import DistillationError

REACHING: dict[str, Callable[[Tensor], Tensor]] = {
    'itself': lambda tensor: tensor,
    'a sum': lambda tensor: tensor.sum(),
    'one of two branches': lambda tensor: tensor.detach().sum() + (2 * tensor).sum(),
    'a part': lambda tensor: tensor[:1].exp().mean(),
    'a checkpointed part': lambda tensor: checkpoint(
        torch.exp, tensor, use_reentrant=True
    ).sum(),
}


@pytest.mark.parametrize('how', REACHING)
@pytest.mark.parametrize('leaf', [True, False])
def test_a_value_made_of_a_tensor_depends_on_it(how: str, leaf: bool) -> None:
    tensor = torch.ones(3, requires_grad=True)
    tensor = tensor if leaf else tensor * 2
    assert depends_on(REACHING[how](tensor), tensor)


def test_a_value_of_something_else_does_not() -> None:
    weight = torch.ones(3, requires_grad=True)
    tensor = 2 * weight
    assert not depends_on(tensor.detach().sum(), tensor)
    assert not depends_on(weight.sum(), tensor)
    assert not depends_on((tensor.detach() * weight).sum(), tensor)


def test_of_two_outputs_of_one_layer_it_knows_which() -> None:
    first, second = torch.ones(4, requires_grad=True).split(2)
    assert depends_on(first.sum(), first)
    assert not depends_on(first.sum(), second)


def test_no_gradient_is_computed() -> None:
    def refuse(gradient: Tensor) -> None:
        raise AssertionError

    tensor = torch.ones(3, requires_grad=True)
    value = tensor.exp()
    value.register_hook(refuse)
    check_alive(tensor, value.sum(), 'neck[0]', 'HintLoss', 'model.pairs.hint')


def test_messages_name_tensor_loss_and_pair() -> None:
    frozen, free = torch.ones(2), torch.ones(2, requires_grad=True)
    names = ('neck[0]', 'HintLoss', 'model.pairs.hint')
    with pytest.raises(DistillationError, match=r'neck\[0\] .* is frozen .*with_cp'):
        check_alive(frozen, free.sum(), *names)
    message = r'HintLoss gives no gradient to neck\[0\] .* adapter of model.pairs.hint'
    with pytest.raises(DistillationError, match=message):
        check_alive(free, frozen.sum(), *names)


def test_modules_whose_weights_are_views_are_copied() -> None:
    layer, gathered = nn.Linear(2, 3), torch.ones(6, requires_grad=True)
    del layer.weight  # as in a sharded model that runs
    layer.__dict__['weight'] = gathered.view(3, 2)
    copy, nothing = copied(nn.Sequential(layer), None)
    assert copy is not None and nothing is None
    assert torch.equal(copy(torch.ones(1, 2)), layer(torch.ones(1, 2)))
    copy(torch.ones(1, 2)).sum().backward()
    assert gathered.grad is None
