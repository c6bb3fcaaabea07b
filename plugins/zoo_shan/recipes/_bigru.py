# SHAN-full. The paper gives 30 epochs of Adam, 1024 dimensions, margin 0.2 and the aligner's four
# constants. The rest is INFERRED from the public COCO script of a co-author's earlier method, CVSE:
# rate, its step at epoch 15, batch, clipping, hardest negatives from the start.
# Words are GloVe's vectors, which rest, beside learned ones. Without the file, all are learned
# (the paper's row "learnable only"); both settings are needed, and one alone is refused:
#   --set initial_weights.text_encoder=None --set model.text_encoder.reader.fixed_dim=0
method = "shan"
plugin = "shan"
model = dict(
    image_encoder=dict(
        type="shan_regions",
        feature_dim=2048,
        dim=1024,
        direction="both",
        level="global_global",
        gate="vector",
    ),
    text_encoder=dict(
        type="shan_words",
        reader=dict(type="bigru", word_dim=300, fixed_dim=300, dim=1024),
        direction="both",
        level="global_global",
        gate="vector",
    ),
    aligner=dict(
        type="stepwise_alignment",
        dim=1024,
        direction="both",
        level="global_global",
        local_sharpness=15.0,
        global_sharpness=1.0,
        local_share=0.3,
        global_share=0.5,
    ),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=128, text_block=512),
)
initial_weights = dict(text_encoder="glove.840B.300d.txt")
loss = dict(type="triplet", margin=0.2, negatives="hardest", reduction="sum")
data = dict(inputs="features", by="caption", batch_size=128, workers=4, train="train", dev="dev")
optim_wrapper = dict(optimizer=dict(type="Adam", lr=2e-4), clip_grad=dict(max_norm=2.0))
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[15], gamma=0.1)]
train_cfg = dict(max_epochs=30)
average = None
seed = 2022
