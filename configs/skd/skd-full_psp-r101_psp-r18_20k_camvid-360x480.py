# Structured distillation on data of your own, as CamVid: PSPNet R101 teaches R18, 20k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# 1. Lay out your data, and say in configs/_base_/datasets/camvid.py where they lie,
#    which classes they have, and how large images and crops are. Nothing else names
#    classes or sizes.
# 2. Train the teacher:
#        python tools/train.py configs/camvid/pspnet_r101-d8_20k_camvid-360x480.py
# 3. Train the student alone (below), to see what it gains.
# 4. Name the teacher's checkpoint here, the last or the best, and run this.
# In files of your own, `_base_` names your student's config and `cfg` your teacher's;
# both may be any of mmsegmentation's models, of the same classes.
# Run:    python tools/train.py \
#     configs/skd/skd-full_psp-r101_psp-r18_20k_camvid-360x480.py
# Cost and result: not run yet.  Needs: CamVid in data/camvid/, or your own data, and
# the teacher.
# Alone:  python tools/train.py configs/camvid/pspnet_r18-d8_20k_camvid-360x480.py
_base_ = ['../camvid/pspnet_r18-d8_20k_camvid-360x480.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::camvid/pspnet_r101-d8_20k_camvid-360x480.py',
        checkpoint='work_dirs/pspnet_r101-d8_20k_camvid-360x480/iter_20000.pth'),
    pairs=dict(
        # The classes of the pixels that are not void.
        pixel=dict(
            view='seg.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0)),
        # The feature before the classifier: decode_head.bottleneck of a PSPNet or a
        # DeepLabV3, decode_head.fusion_conv of a SegFormer.
        pair=dict(
            layer='decode_head.bottleneck',
            loss=dict(type='PairWiseLoss', pool_kernel=2, loss_weight=10.0)),
        # The critic's own rate and weight decay; its rate decays as the student's. It
        # costs the most: without it, see the other rungs, remove this pair.
        holistic=dict(
            view='seg.logits', loss=dict(type='HolisticLoss', loss_weight=0.1))))
