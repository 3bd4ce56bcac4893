# Hints of the encoder's memory: DINO Swin-L teaches DINO R50, COCO, 1x.
# Romero et al., ICLR 2015, https://arxiv.org/abs/1412.6550; the weight is ours.
# Run:    python tools/train.py configs/hint/hint-memory_dino-swin-l_dino-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::dino/dino-5scale_swin-l_8xb2-12e_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v3.0/dino/dino-5scale_swin-l_8xb2-12e_coco/'
            'dino-5scale_swin-l_8xb2-12e_coco_20230228_072924-a654145f.pth')),
    pairs=dict(
        # What the decoder's queries look at. By stride: the teacher has a level of
        # stride 4 more, before those of the student.
        memory=dict(
            view=dict(type='encoder.memory',
                levels=dict(student=[0, 1, 2, 3], teacher=[1, 2, 3, 4])),
            adapter=dict(type='ConvAdapter'),
            loss=dict(type='HintLoss', loss_weight=1.0))))
