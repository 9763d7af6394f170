from ml_collections import ConfigDict

STEPS = 192


def get_config():
    def run(source, **changes):
        return dict(stages=({"tokens": 0, "weights": {source: 1.0}},), **(dict(steps=STEPS) | changes))

    return ConfigDict(
        dict(
            kind="organism",
            primary="python",
            new="php",
            seeds=(0,),
            world=dict(
                words=20,
                shared_words=8,
                new_only_words=20,
                problems=40,
                shared_problems=16,
                documents=2048,
                heldout_documents=16,
            ),
            common=dict(batch_size=64, model=dict(preset="test", tied_head=False), optimizer=dict(learning_rate=1e-2)),
            runs=dict(
                primary_only=run("primary", steps=1200),
                new_only=run("new", steps=600),
                continual=run("new", init_from="primary_only", checkpoint_steps=(0, 16, 48, 96)),
                control=run("new_control", init_from="primary_only", checkpoint_steps=(0, 96)),
                replay=run("new", init_from="primary_only", checkpoint_steps=(0, 16, 48, 96)),
                mix=dict(steps=800),
            ),
            original=dict(python=11, php=23),
            sweep=(0.5,),
            replay=(0.25,),
            candidates=("unimax", "schedule"),
        )
    )
