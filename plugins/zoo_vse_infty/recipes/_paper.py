# What all of the paper's models share, as in released code: hinge on the hardest negatives after
# one epoch on all of them, 25 epochs, a tenth of the rate after 15, a fifth of the regions and
# words dropped or changed.
method = "vse-infty"
plugin = "vse_infty"
model = dict(
    image_encoder=dict(type="vse_infty_regions", feature_dim=2048, dim=1024, region_drop=0.2),
    aligner=dict(type="cosine"),
    extractor=None,
    features=dict(kind="butd", regions=36, dim=2048),
    scoring=dict(image_block=1024, text_block=4096),
)
loss = dict(type="triplet", margin=0.2, negatives="hardest", reduction="sum")
warm_up = dict(epochs=1, negatives="all")
data = dict(inputs="features", by="caption", batch_size=128, workers=4, train="train", dev="dev")
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[15], gamma=0.1)]
train_cfg = dict(max_epochs=25)
average = None
seed = 2022
