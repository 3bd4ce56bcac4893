# The teacher of the embedded detection benchmark: Faster R-CNN, ResNet-18 of base width
# 32, all 4,000 labelled images, 5,000 iterations.
# Run:    python tools/train.py configs/digits/faster-rcnn_r18-w32_fpn_5k_digits.py
_base_ = [
    '../_base_/models/faster-rcnn_r18_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
