# mmsegmentation's SegFormer B4. A config takes it: `teacher=_base_.pop('teacher')`.
teacher = dict(
    cfg='mmseg::segformer/segformer_mit-b4_8xb1-160k_cityscapes-1024x1024.py',
    checkpoint=(
        'https://download.openmmlab.com/mmsegmentation/v0.5/segformer/segformer_mit-b4_8x1_1024x1024_160k_cityscapes/'
        'segformer_mit-b4_8x1_1024x1024_160k_cityscapes_20211207_080709-07f6c333.pth'))
