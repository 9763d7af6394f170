"""Phase `tokens`, a task a piece: the ids of its documents, a file a split; those held out must come back from their ids."""

from babel_jax.common.errors import UserError
from babel_jax.common.files import whole
from babel_jax.corpus.phases.document_tables import Documents, rows_by_split
from babel_jax.corpus.phases.vocabulary import corpus_tokenizer
from babel_jax.corpus.records import Counted, Tokenised


def run(work, plan, task):
    from babel_jax.corpus import token_rows

    documents, model = Documents(work, [task]), corpus_tokenizer(work)
    counted = {}
    for split, rows in rows_by_split(work, task).items():
        with whole(work / "tokens" / f"{task}.{split}") as partial, token_rows.TokenFile(partial, model) as file:
            size = count = 0
            for text in documents.texts(rows):
                ids = file.append(text)
                count, size = count + 1, size + len(text.encode())
                if split == "validation" and model.decode(ids) != text:
                    raise UserError(
                        f"a held-out file of {task} does not come back from its tokens; take a tokenizer that loses no text."
                    )
        counted[split] = Counted(count, size, file.tokens)
    amount = (sum(one.documents for one in counted.values()), sum(one.bytes for one in counted.values()))
    return Tokenised(**counted, amount=amount)
