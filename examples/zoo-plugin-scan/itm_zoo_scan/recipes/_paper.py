# What all of the paper's models share: the hinge on the hardest negatives from the first epoch on,
# 128 pairs a batch, a tenth of the rate for the second half.
method = "scan"
plugin = "scan"
model = dict(
    image_encoder=dict(type="regions", feature_dim=2048, dim=1024),
    text_encoder=dict(type="bigru", word_dim=300, dim=1024),
    aligner=dict(
        type="stacked_attention",
        direction="t2i",
        pooling="mean",
        sharpness=9.0,
        pooling_sharpness=6.0,
        leak=0.1,
    ),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=128, text_block=512),
)
loss = dict(type="triplet", margin=0.2, negatives="hardest", reduction="sum")
data = dict(
    inputs="features",
    by="caption",
    batch_size=128,
    drop_last=False,
    workers=4,
    train="train",
    dev="dev",
)
optim_wrapper = dict(optimizer=dict(type="Adam", lr=2e-4), clip_grad=dict(max_norm=2.0))
average = None
seed = 2022
