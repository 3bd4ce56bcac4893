# What every distillation needs, beside a config of the host's:
#     _base_ = ['mmdet::...', 'kd_plugins::_base_/distill.py']
# The runner brings the rest where it is needed: optimiser constructor, hooks, wrapper
# for several processes. (Here they would clash with the keys of the other bases.)
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
runner_type = 'kd_plugins.DistillRunner'
