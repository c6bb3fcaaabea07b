# What both heads and both data sets share, as in released code: the hinge on the hardest negatives
# from the first epoch on, 128 pairs a batch, a tenth of the rate for the last epochs.
method = "sgraf"
plugin = "sgraf"
model = dict(
    image_encoder=dict(type="sgraf_regions", feature_dim=2048, dim=1024, dropout=0.4),
    text_encoder=dict(
        type="sgraf_words",
        reader=dict(type="bigru", word_dim=300, dim=1024, dropout=0.4),
        dropout=0.4,
    ),
    aligner=dict(type="similarity_vectors", dim=1024, similarity_dim=256, head="sgr", steps=3),
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
