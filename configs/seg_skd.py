# The main job of segmentation: a small PSPNet learns from a big one, on mosaics of
# photographs. All terms of Liu et al., Structured Knowledge Distillation for Semantic
# Segmentation, CVPR 2019, https://arxiv.org/abs/1903.04197
# Run:    python tools/train.py configs/seg_skd.py
# Cost and result: 10 minutes on a busy core; 41.4 ± 1.8 mIoU, the student alone 38.4,
# the teacher 56.2 (seeds 0 to 2, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['./_base_/mosaics_student.py', './_base_/distill.py']

model = dict(
    _delete_=True,  # not merged into the student's model: wrapped around it
    type='kd_plugins.Distiller',
    # The student is the model of the base config, unchanged. Its own losses stay; what
    # the pairs below add is logged as loss_kd_<name of the pair>.
    student={{_base_.model}},
    # The teacher: trained once, frozen, gone after training.
    teacher=dict(
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
        checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors'),
    # What is compared. A config that inherits this one overrides a single entry, and
    # removes one with None: see configs/skd/.
    pairs=dict(
        # What is each pixel? The classes of all labelled pixels, at the head's stride.
        pixel=dict(
            view='seg.logits',
            loss=dict(type='PixelWiseLoss', temperature=4.0, loss_weight=1.0)),
        # How alike are each two places? Cosines between the pixels of the last feature,
        # whose channels may differ: no adapter. The weight grows: untrained, a student
        # feels 0.1 as half of what its labels say, trained, it does not feel it at all.
        pair=dict(
            layer='decode_head.bottleneck',
            loss=dict(
                type='PairWiseLoss',
                pool_kernel=2,
                loss_weight=dict(
                    type='LinearRamp', start=0.0, end=30.0, begin=150, until=750))),
        # How plausible is the whole map? A critic, trained beside the student, tells
        # its maps from the teacher's; it is in no checkpoint of the student. The maps
        # are 16x16: two of its convolutions do, the published four would enlarge them.
        holistic=dict(
            view='seg.logits',
            loss=dict(
                type='HolisticLoss', base_channels=16, num_convs=2, loss_weight=0.1))))
