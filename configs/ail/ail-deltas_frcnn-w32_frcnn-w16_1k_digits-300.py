# Attentive imitation of the boxes of the second stage, on digits in photographs.
# Saputra et al., ICCV 2019, arXiv:1908.00858
# Run:    python tools/train.py \
#     configs/ail/ail-deltas_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 39.5 mAP, the same start 36.7
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/digits_student.py', '../_base_/distill.py']

model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
        checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors'),
    # Where the shapes agree, the student starts from the teacher's weights, as all
    # that is compared on the digits does, the one without pairs too.
    init_from_teacher=['neck', 'rpn_head', 'roi_head'],
    pairs=dict(
        # Where is the object? The more the teacher errs on a box, the less it counts.
        # The range of its errors is followed as they come; the paper takes it of the
        # whole training set before.
        deltas=dict(
            view='roi.deltas',
            loss=dict(
                type='AILLoss',
                mode='attentive',
                normalizer='running',
                warmup=100,
                loss_weight=1.0))))
