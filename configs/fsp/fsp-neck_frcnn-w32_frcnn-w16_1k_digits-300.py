# Flow between the levels of the neck, on digits in photographs.
# Yim et al., CVPR 2017,
# https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html
# Run:    python tools/train.py \
#     configs/fsp/fsp-neck_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 35.4 mAP, the same start 36.7
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    # How do the channels of two levels of the FPN, of as many channels in both models,
    # go together? The paper trains the flow alone, then the task. Here 200 iterations
    # of that leave a neck that is no longer the teacher's: 6.2 mAP in the end (seed 0).
    # So both at once, with weights of ours: each gradient is half as large as the
    # task's (tools/analyze.py, at a student trained without).
    pairs={
        f'neck_{level + 1}': dict(
            view=dict(
                type='layer.flow',
                first=f'neck.fpn_convs.{level}',
                last=f'neck.fpn_convs.{level + 1}'),
            loss=dict(type='FSPLoss', loss_weight=weight))
        for level, weight in enumerate([2.5e-4, 6.7e-5, 3.3e-5])
    })
