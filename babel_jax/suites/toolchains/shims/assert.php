<?php
// What assert() in the tests of PHP becomes: a function whose effect no setting (zend.assertions, assert.exception,
// assert_options) takes away. It stands before the program, which therefore cannot define it.
function babel_jax_assert($held, $description = null)
{
    if ($held) {
        return true;
    }
    if ($description instanceof Throwable) {
        throw $description;
    }
    throw new AssertionError($description ?? 'assert() failed in line ' . debug_backtrace()[0]['line']);
}
