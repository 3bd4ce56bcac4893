# Apprentice, scheme C: a float student is distilled, then its weights are lowered to
# three values, and the teacher teaches on, at a low rate. On mosaics of photographs.
# Mishra and Marr 2018, arXiv:1711.05852
# Run:    python tools/train.py \
#     configs/apprentice/apprentice-c_psp-w24_psp-w6_2k_mosaics-300.py
# Cost and result: not run yet. 1,500 and 500 iterations.
# In float:  python tools/train.py \
#     configs/skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    # Both count half, at temperature 1.
    task_loss_weights={'*.loss_ce': 0.5},
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=0.5))))

stages = dict(
    float=dict(),
    lowered=dict(
        options={
            'load_from': '{float.student}',
            'model.student': dict(
                _delete_=True,
                type='kd_plugins.Quantized',
                model={{_base_.model.student}},
                weights=dict(type='TernaryWeights'),
                # The first layer and the last ones stay float.
                float_layers=['backbone.stem', '*.conv_seg']),
            'optim_wrapper.optimizer.lr': 1.6e-3,
            'train_cfg.max_iters': 500,
            'train_cfg.val_interval': 500,
            'param_scheduler.0.end': 25,
            'param_scheduler.1.begin': 25,
            'param_scheduler.1.end': 500,
            'param_scheduler.1.T_max': 475,
        }))
