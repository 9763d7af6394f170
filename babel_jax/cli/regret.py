"""Puts the studies of several worlds and budgets together: how far each optimiser's corpus stays behind the best one.

Each study of --workdirs is a cell, such as those of configs/regret.py; it is called by the name of its folder. One that is not
finished is named and left out. Then: how well one cell's curve foretells the mixes of another. --out gets the tables, the regrets
of every cell, and the figure.

python -m babel_jax regret --workdirs runs/regret/s40_400 runs/regret/s20_400 --out=runs/regret/table
"""

from babel_jax.cli import kinds
from babel_jax.cli.parser import Arguments
from babel_jax.common.errors import UserError, printable


def add_arguments(parser) -> None:
    parser.add_argument("--workdirs", type=kinds.place, nargs="+", required=True, help="directories of studies")
    parser.add_argument("--out", type=kinds.place, metavar="DIR", help="where tables and figure are written")


def run(arguments: Arguments) -> None:
    from babel_jax.common import files
    from babel_jax.optimum import cell_regrets, curve_law
    from babel_jax.study import cells

    found, laws = [], {}
    for workdir in arguments.workdirs:
        cell = cells.of_study(workdir)
        if isinstance(cell, str):
            print(f"{printable(workdir)} is left out: {cell}")
        else:
            found += cell_regrets.regrets(cell)
            laws |= {cell.name: cell.law} if cell.law else {}
    if not found:
        raise UserError("no study here is finished; run `study` on one of them to its end.")
    rows = cell_regrets.table(found)
    print(table(rows))
    print(f"\nshuffled labels: p {cell_regrets.shuffled_labels(found):.3f} (small: the optimisers differ)")
    transfers = curve_law.frame(curve_law.across(laws))
    if len(transfers):
        print(of_curves(transfers))
    if arguments.out:
        from babel_jax.report import drawing, regret_figure

        out = files.path(arguments.out)
        regrets, of_cells = cell_regrets.frame(rows), cell_regrets.frame_of_cells(found)
        tables = {"regret.csv": regrets, "regret_cells.csv": of_cells, "regret_curves.csv": transfers}
        for name, frame in tables.items():
            if len(frame):
                files.write_atomic(out / name, frame.to_csv(index=False))
        figure, _ = regret_figure.draw(regrets, of_cells)
        files.write_atomic(out / "regret.png", drawing.png(figure))
        print(f"written to {printable(out)}")


def of_curves(transfers) -> str:
    """How a curve that was fitted in one cell does in the others, in one line."""
    order, none, fitted, baseline = (transfers[name] for name in ("order", "none", "fitted", "baseline"))
    return (
        f"the curve of one cell for the mixes of another ({len(transfers)} pairs, medians): order {order.median():.2f}, error "
        f"{none.median():.3f}, with the distance fitted there {fitted.median():.3f}, that of a mean {baseline.median():.3f}"
    )


def table(rows) -> str:
    """Optimisers in the order of their regret, in lines for the terminal."""
    lines = [
        f"{'optimiser':30} {'regret':>7}  {'95 % over cells':18} {'cells':>5} {'seeds':>5}  behind the first (p, Holm)"
    ]
    for row in rows:
        behind = "" if row.behind is None else f"{row.behind.value:+.3f} ({row.p_holm:.2g})"
        low, high = row.effect.ci
        interval = f"{low:+.3f} to {high:+.3f}"
        lines.append(
            f"{row.optimiser:30} {row.effect.value:+7.3f}  {interval:18} {row.cells:5} {row.seeds:5}  {behind}".rstrip()
        )
    return "\n".join(lines)
