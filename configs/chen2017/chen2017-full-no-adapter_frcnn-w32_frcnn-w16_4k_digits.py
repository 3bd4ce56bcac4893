# The system of Chen et al. in the second protocol: all 4,000 labels, 4,000 iterations.
# NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-full-no-adapter_frcnn-w32_frcnn-w16_4k_digits.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_4k_digits.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_4k_digits.py
_base_ = ['../frcnn_kd.py', '../_base_/schedules/cosine_4k.py']

# As for the student alone; a test compares the two.
train_dataloader = dict(dataset=dict(ann_file='annotations/train.json'))
train_cfg = dict(max_iters=4000, val_interval=1000)
param_scheduler = _base_.pop('cosine_4k')
