# BiGRU words, learned from scratch.
_base_ = "_paper.py"
model = dict(
    text_encoder=dict(
        type="vse_infty_words",
        reader=dict(
            type="bigru",
            word_dim=300,
            dim=1024,
            word_drop=0.2,
            mask_token=True,
            unit_length=False,
        ),
    )
)
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=1e-4), clip_grad=dict(max_norm=2.0)
)
