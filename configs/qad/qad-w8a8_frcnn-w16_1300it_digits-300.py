# A detector of 8 bits a weight learns from its own float weights: first they are
# trained, then they teach. On digits in photographs.
# Zhao and Zhao 2024, arXiv:2403.11106; here beside the labels
# Run:    python tools/train.py configs/qad/qad-w8a8_frcnn-w16_1300it_digits-300.py
# Cost and result: not run yet. 1,000 and 300 iterations. Without the teacher:
#         python tools/train.py \
#             configs/qad/qad-control-w8a8_frcnn-w16_1300it_digits-300.py
# In float:  python tools/train.py \
#     configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
_base_ = ['../_base_/quantized/frcnn-w16_300it_digits-300.py']
model = dict(
    teacher=dict(_delete_=True, cfg={{_base_.alone}}, checkpoint='{float.student}'),
    pairs=dict(
        logits=dict(
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0)),
        objectness=dict(
            view='rpn.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0)),
        neck=dict(layer='neck', loss=dict(type='PKDLoss', loss_weight=1.0))))
