"""A recipe of a real method, tiny, for runs that the command line starts in several processes."""

RECIPE = """
name = "tiny"
method = "chan"
plugin = "chan"
model = dict(
    image_encoder=dict(type="chan_regions", feature_dim=6, dim=8, region_drop=0.2),
    text_encoder=dict(type="bigru", word_dim=5, dim=8, word_drop=0.2, mask_token=True, dropout=0.2),
    aligner=dict(type="hard_alignment", coding="vha", pooling="mean"),
    features=dict(kind="toy", regions=3, dim=6),
)
vocabulary = dict(minimum_count=1)
loss = dict(type="contrastive", temperature=0.05, learnable=True)
data = dict(inputs="features", by="image", captions_per_image=2, batch_size=4, workers=0)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1e-2), clip_grad=dict(max_norm=2.0))
train_cfg = dict(max_epochs=4)
average = dict(momentum=0.9)
checkpoint = dict(every=3, keep=2)
log_every = 1
seed = 7
"""
