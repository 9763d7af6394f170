import jax
import jax.numpy as jnp
import pytest
from helpers import python

from babel_jax.model import hlo

# Of a program for a TPU, shortened: a loop of 24 turns whose body gathers a layer in three fusions (begun, carried on, ended)
# and sums in a loop of its own, which counts to 8 in steps of 2.
TPU = """HloModule jit_step, is_scheduled=true

%begin (p0: bf16[1,128,512]) -> (bf16[1,128,512], bf16[1,2048,512]) {
  %p0 = bf16[1,128,512]{2,1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.1 = bf16[1,2048,512]{2,1,0} all-gather(%p0), channel_id=7, replica_groups=GROUPS, CHAIN, metadata={OP}
  ROOT %custom-call.1 = (bf16[1,128,512], bf16[1,2048,512]) custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%end (p0: bf16[1,128,512], p1: bf16[1,2048,512]) -> bf16[1,2048,512] {
  %p0.1 = bf16[1,128,512]{2,1,0} parameter(0)
  %p1.1 = bf16[1,2048,512]{2,1,0} parameter(1)
  %all-gather.2 = bf16[1,2048,512]{2,1,0} all-gather(%p0.1), channel_id=7, replica_groups=GROUPS, CHAIN
  ROOT %custom-call.2 = bf16[1,2048,512]{2,1,0} custom-call(%p0.1, %p1.1, %all-gather.2), custom_call_target="AsyncCollectiveDone"
}

%inner_body (p: (u32[], f32[16,128])) -> (u32[], f32[16,128]) {
  %p.2 = (u32[]{:T(128)}, f32[16,128]{1,0}) parameter(0)
  %i = u32[]{:T(128)} get-tuple-element(%p.2), index=0
  %x = f32[16,128]{1,0} get-tuple-element(%p.2), index=1
  %two = u32[]{:T(128)} constant(2)
  %next = u32[]{:T(128)} add(%i, %two)
  %collective-permute-start.1 = (f32[16,128]{1,0}, f32[16,128]{1,0}, u32[]) collective-permute-start(%x), channel_id=9
  %collective-permute-done.1 = f32[16,128]{1,0} collective-permute-done(%collective-permute-start.1)
  ROOT %out = (u32[]{:T(128)}, f32[16,128]{1,0}) tuple(%next, %collective-permute-done.1)
}

%inner_condition (p: (u32[], f32[16,128])) -> pred[] {
  %p.3 = (u32[]{:T(128)}, f32[16,128]{1,0}) parameter(0)
  %i.1 = u32[]{:T(128)} get-tuple-element(%p.3), index=0
  %eight = u32[]{:T(128)} constant(8)
  ROOT %less = pred[]{:T(512)} compare(%i.1, %eight), direction=LT
}

%body (p: (s32[], f32[16,128])) -> (s32[], f32[16,128]) {
  %p.4 = (s32[]{:T(128)}, f32[16,128]{1,0}) parameter(0)
  %i.2 = s32[]{:T(128)} get-tuple-element(%p.4), index=0
  %x.1 = f32[16,128]{1,0} get-tuple-element(%p.4), index=1
  %shard = bf16[1,128,512]{2,1,0} constant({...})
  %started = (bf16[1,128,512]{2,1,0}, bf16[1,2048,512]{2,1,0}) fusion(%shard), kind=kCustom, calls=%begin
  %gathered = bf16[1,2048,512]{2,1,0} get-tuple-element(%started), index=1
  %ended = bf16[1,2048,512]{2,1,0} fusion(%shard, %gathered), kind=kCustom, calls=%end
  %zero = u32[]{:T(128)} constant(0)
  %packed = (u32[]{:T(128)}, f32[16,128]{1,0}) tuple(%zero, %x.1)
  %while.2 = (u32[]{:T(128)}, f32[16,128]{1,0}) while(%packed), condition=%inner_condition, body=%inner_body
  %summed = f32[16,128]{1,0} get-tuple-element(%while.2), index=1
  %all-reduce.1 = f32[16,128]{1,0} all-reduce(%summed), channel_id=11, replica_groups={{0,1,2,3}}, to_apply=%sum
  %one = s32[]{:T(128)} constant(1)
  %next.1 = s32[]{:T(128)} add(%i.2, %one)
  ROOT %out.1 = (s32[]{:T(128)}, f32[16,128]{1,0}) tuple(%next.1, %all-reduce.1)
}

%condition (p: (s32[], f32[16,128])) -> pred[] {
  %p.5 = (s32[]{:T(128)}, f32[16,128]{1,0}) parameter(0)
  %i.3 = s32[]{:T(128)} get-tuple-element(%p.5), index=0
  %layers = s32[]{:T(128)} constant(24)
  ROOT %less.1 = pred[]{:T(512)} compare(%i.3, %layers), direction=LT
}

ENTRY %main (x: f32[16,128]) -> f32[16,128] {
  %x.2 = f32[16,128]{1,0} parameter(0)
  %start = s32[]{:T(128)} constant(0)
  %packed.1 = (s32[]{:T(128)}, f32[16,128]{1,0}) tuple(%start, %x.2)
  %while.1 = (s32[]{:T(128)}, f32[16,128]{1,0}) while(%packed.1), condition=%condition, body=%body, metadata={op_name="a
}}, which goes on in the next line"}
  ROOT %result = f32[16,128]{1,0} get-tuple-element(%while.1), index=1
}
"""
TPU = TPU.replace("GROUPS", "mesh['a'=16,'b'=2] {'a'}").replace("CHAIN", 'frontend_attributes={chain_id="1"}')
TPU = TPU.replace("OP", 'op_name="jit(step)/qkv"')


def test_collectives_count_as_often_as_their_loops_turn():
    found = {one.kind: one for one in hlo.collectives(TPU)}
    assert sorted(found) == ["all-gather", "all-reduce", "collective-permute"] and len(hlo.collectives(TPU)) == 3
    gather, reduce, permute = (found[kind] for kind in sorted(found))
    assert (gather.times, gather.bytes, gather.group) == (24, 2 * 2048 * 512, 16)
    assert gather.sent(32) == pytest.approx(24 * 2 * 2048 * 512 * 15 / 16) and gather.source == "jit(step)/qkv"
    assert (reduce.times, reduce.bytes, reduce.group) == (24, 4 * 16 * 128, 4)
    assert reduce.sent(32) == pytest.approx(24 * 2 * 4 * 16 * 128 * 3 / 4)
    assert (permute.times, permute.bytes) == (24 * 4, 4 * 16 * 128)
    assert permute.sent(32) == pytest.approx(24 * 4 * 4 * 16 * 128)


def test_a_loop_that_cannot_be_counted_is_an_error():
    with pytest.raises(ValueError, match="the loop while.1 is not a counter"):
        hlo.collectives(TPU.replace("constant(24)", "parameter(1)"))
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("HloModule nothing\n")


def test_a_loop_moves_its_slices_and_not_its_stacks():
    """A scan over stacked matrices reads each of them once, whatever XLA makes of it."""
    L, D = 6, 256

    def model(h, stack):
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, stack)[0]

    h, stack = jnp.zeros((8, D)), jnp.zeros((L, D, D))
    moved = hlo.memory_bytes(jax.jit(model).lower(h, stack).compile().as_text())
    assert stack.nbytes <= moved <= 4 * stack.nbytes  # a copy of each slice may be made and read


def test_on_chip_memory_moves_nothing():
    assert hlo.shape_bytes("(bf16[2,3]{1,0:T(8,128)}, f32[4]{0:S(1)})") == 2 * 6 + 16
    assert hlo.shape_bytes("(bf16[2,3]{1,0:T(8,128)}, f32[4]{0:S(1)})", memory_only=True) == 12


SHARDED = """
import jax, jax.numpy as jnp, json
from jax.sharding import NamedSharding, PartitionSpec as P
from babel_jax.model import hlo
from babel_jax.model.sharding import make_mesh
mesh = make_mesh(1, 8, 1)
def model(h, stack):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, stack)[0]
h = jax.ShapeDtypeStruct((16, 64), jnp.float32, sharding=NamedSharding(mesh, P("fsdp")))
stack = jax.ShapeDtypeStruct((5, 64, 64), jnp.float32, sharding=NamedSharding(mesh, P(None, "fsdp")))
text = jax.jit(model, out_shardings=NamedSharding(mesh, P("fsdp"))).lower(h, stack).compile().as_text()
print(json.dumps([[one.kind, one.times, one.bytes, one.sent(8)] for one in hlo.collectives(text)]))
"""


@pytest.mark.processes
def test_fsdp_gathers_a_layer_at_a_time():
    done = python("-c", SHARDED, devices=8)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == str([["all-gather", 5, 16384.0, 71680.0]]).replace("'", '"')
