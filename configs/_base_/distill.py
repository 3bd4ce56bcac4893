# What every distillation needs, beside a config of the host's:
#     _base_ = ['mmdet::...', 'kd_plugins::_base_/distill.py']
# Our tools/*.py read that. The hosts' own resolve `_base_` before anything of ours is
# imported; for them:
#     _base_ = __import__('kd_plugins') and [...]
# The runner brings the rest where it is needed: optimiser constructor, hooks, wrapper
# for several processes. (Here they would clash with the keys of the other bases, as a
# `custom_imports` would: a config with a backbone of its own has one.)
runner_type = 'kd_plugins.DistillRunner'
