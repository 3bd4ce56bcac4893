# The main job: a small Faster R-CNN learns from a big one, on digits in photographs.
# All terms of Chen et al., Learning Efficient Object Detection Models with Knowledge
# Distillation, NIPS 2017, https://papers.nips.cc/paper/6676. Not the paper's: the start
# from the teacher's neck and heads, and so a hint without adapter.
# Run:    python tools/train.py configs/frcnn_kd.py
# Cost and result: 7 minutes on one of two busy cores; 53.9 mAP, the same start without
# pairs 37.7, the student alone 18.5, the teacher 70.3 (seeds 0 to 2, 500 images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['./_base_/digits_student.py', './_base_/distill.py']

model = dict(
    _delete_=True,  # not merged into the student's model: wrapped around it
    type='kd_plugins.Distiller',
    # The student is the model of the base config, unchanged. Its own losses stay; what
    # the pairs below add is logged as loss_kd_<name of the pair>.
    student={{_base_.model}},
    # The teacher: trained once, frozen, gone after training. It runs only as far as the
    # pairs need, and never its losses or its final boxes.
    teacher=dict(
        cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
        checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors'),
    # Where the shapes agree, the student starts from the teacher's weights: all but the
    # backbone, which is half as wide, and the kernels of the neck's first convolutions.
    # What is compared in configs/chen2017/ all starts so, the one without pairs too.
    init_from_teacher=['neck', 'rpn_head', 'roi_head'],
    # mu, the weight of the labels. On so few of them labels and teacher (rcn_cls and
    # rpn_cls) both count in full; the configs of COCO keep 0.8 and 0.2 as others use
    # them.
    task_loss_weights={'loss_cls': 1.0, 'loss_rpn_cls': 1.0},
    # What is compared. A config that inherits this one overrides a single entry, and
    # removes one with None: see configs/chen2017/.
    pairs=dict(
        # Feature maps of all levels of the FPN: the student's follow the teacher's. The
        # heads that the student started from read the teacher's features as they are,
        # so nothing is learned in between: for a student with heads of its own, write
        # adapter=dict(type='ConvAdapter') here. The loss weight is gamma: with 10 the
        # backbone's gradient from the hint is, before the first step, eight times that
        # from the classes' labels, and after the last one twice.
        hint=dict(
            layer='neck',
            loss=dict(type='HintLoss', loss_weight=10.0)),
        # Second stage (the paper's RCN): what is in this box? Both heads judge the same
        # boxes, each on its own features. Errors on background cost half as much again.
        rcn_cls=dict(
            view='roi.logits',
            loss=dict(
                type='WeightedClassKDLoss',
                background_weight=1.5,
                temperature=1.0,
                loss_weight=1.0)),
        # Second stage: where is it? The teacher is no target but a bound: only boxes
        # that the student places worse than the teacher (by the margin) cost anything.
        # The loss weight is nu.
        rcn_reg=dict(
            view='roi.deltas',
            loss=dict(type='TeacherBoundedLoss', margin=0.0, loss_weight=0.5)),
        # First stage (RPN): the same two questions, about the same anchors.
        rpn_cls=dict(
            view='rpn.logits',
            loss=dict(
                type='WeightedClassKDLoss',
                background_weight=1.5,
                temperature=1.0,
                loss_weight=1.0)),
        rpn_reg=dict(
            view='rpn.deltas',
            loss=dict(type='TeacherBoundedLoss', margin=0.0, loss_weight=0.5))))
