# Gist on the tutorial's shapes, from features of chan-f8k's extractor:
#   zoo extract shapes/images -o FEATURES
#   zoo train gist-shapes --data shapes --features FEATURES --work-dir RUN
name = "gist-shapes"
method = "gist"
plugin = "gist"
model = dict(
    image_encoder=dict(type="gist_regions", feature_dim=1280, dim=64, standardize=True),
    text_encoder=dict(type="gist_words", reader=dict(type="bigru", word_dim=32, dim=64)),
    aligner=dict(type="gist"),
    extractor=dict(type="grid", backbone="mobilenet_edgetpu_075"),
    features=dict(kind="grid", regions=36, dim=1280),
    scoring=dict(image_block=128, text_block=512),
)
vocabulary = dict(minimum_count=1)
initial_weights = dict(extractor="chan-f8k")
loss = dict(type="soft_hinge", margin=0.2)
data = dict(inputs="features", by="image", captions_per_image=2, batch_size=22, workers=0)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=0.003))
train_cfg = dict(max_epochs=40, val_interval=40)
seed = 2022
