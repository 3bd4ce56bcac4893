# Flow between the levels of the neck, then the task alone, on digits in photographs.
# Yim et al., CVPR 2017,
# https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html
# Run:    python tools/train.py \
#     configs/fsp/fsp-neck_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
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
    # The paper trains in two stages: the flow first, then the labels. How long the
    # first is, 200 of 1,000 iterations, is ours.
    task_loss_weights={
        '*': dict(type='StepSchedule', values=[0, 1], milestones=[200])},
    pairs=dict(
        # How do the channels of two levels of the FPN, of as many channels in both
        # models, go together? Reimplementations take 50 on a mean over the 64 x 64
        # entries of a flow matrix, which are added up here: 50 / 4096.
        neck_1=dict(
            view=dict(
                type='FlowView',
                first='neck.fpn_convs.0',
                last='neck.fpn_convs.1'),
            loss=dict(
                type='FSPLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[0.0122, 0], milestones=[200]))),
        neck_2=dict(
            view=dict(
                type='FlowView',
                first='neck.fpn_convs.1',
                last='neck.fpn_convs.2'),
            loss=dict(
                type='FSPLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[0.0122, 0], milestones=[200]))),
        neck_3=dict(
            view=dict(
                type='FlowView',
                first='neck.fpn_convs.2',
                last='neck.fpn_convs.3'),
            loss=dict(
                type='FSPLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[0.0122, 0], milestones=[200])))))
