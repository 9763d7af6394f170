from ml_collections import ConfigDict


def get_config():
    def run(source, **changes):
        return dict(steps=2, stages=({"tokens": 0, "weights": {source: 1.0}},), **changes)

    return ConfigDict(
        dict(
            kind="real_code",
            primary="python",
            new="php",
            seeds=(0,),
            original=dict(python=11, php=23),
            corpus="corpus",
            heldout_rows=4,
            prompt_tokens=8,
            common=dict(batch_size=4, model=dict(preset="tiny"), optimizer=dict(learning_rate=4e-3)),
            runs=dict(
                primary_only=run("primary"),
                new_only=run("new"),
                continual=run("new", init_from="primary_only", checkpoint_steps=(0, 1)),
                mix=dict(steps=2),
            ),
        )
    )
