// Package assert has the part of github.com/stretchr/testify/assert that the Go tests of HumanEval-X use, after its
// public documentation: assert.New(t), then Equal, True and False, which report a failure and go on.
package assert

import (
	"bytes"
	"reflect"
)

// TestingT is what of *testing.T is needed.
type TestingT interface {
	Errorf(format string, arguments ...interface{})
}

// Assertions holds the test that failures are reported to.
type Assertions struct{ t TestingT }

// New makes assertions for one test.
func New(t TestingT) *Assertions { return &Assertions{t} }

// ObjectsAreEqual compares as reflect.DeepEqual does, but bytes by content; functions are never equal.
func ObjectsAreEqual(expected, actual interface{}) bool {
	left, isBytes := expected.([]byte)
	if !isBytes {
		return reflect.DeepEqual(expected, actual)
	}
	right, isBytes := actual.([]byte)
	if !isBytes || left == nil || right == nil {
		return isBytes && left == nil && right == nil
	}
	return bytes.Equal(left, right)
}

// Equal reports a failure unless both are equal and of one type.
func (a *Assertions) Equal(expected, actual interface{}, message ...interface{}) bool {
	if isFunction(expected) || isFunction(actual) || !ObjectsAreEqual(expected, actual) {
		a.t.Errorf("Not equal: expected %#v, actual %#v %v", expected, actual, message)
		return false
	}
	return true
}

func isFunction(value interface{}) bool {
	return value != nil && reflect.TypeOf(value).Kind() == reflect.Func
}

// True reports a failure unless the value is true.
func (a *Assertions) True(value bool, message ...interface{}) bool {
	if !value {
		a.t.Errorf("Should be true %v", message)
	}
	return value
}

// False reports a failure unless the value is false.
func (a *Assertions) False(value bool, message ...interface{}) bool {
	if value {
		a.t.Errorf("Should be false %v", message)
	}
	return !value
}
