name = "toy-f8k"
method = "toy"
plugin = "toy"
model = dict(
    image_encoder=dict(type="toy_images", feature_dim=12, dim=16),
    text_encoder=dict(type="toy_texts", reader=dict(type="bigru", word_dim=8, dim=16)),
    aligner=dict(type="toy_alignment", dim=16),
    features=dict(kind="butd", regions=6, dim=12),
    scoring=dict(image_block=128, text_block=512),
)
vocabulary = dict(minimum_count=1)
loss = dict(type="toy_hinge", margin=0.2)
data = dict(inputs="features", by="caption", batch_size=4, workers=0, train="train", dev="dev")
optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3))
train_cfg = dict(max_epochs=1)
