package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// shaper is a type that takes several shapes, such as "all or a list of names": it calls decode with one
// target after the other. The signature is the one common to Go's YAML libraries.
type shaper interface {
	UnmarshalYAML(decode func(any) error) error
}

// decoder fills Go values from nodes. It goes on after an error, so that a person sees all of them at once.
type decoder struct {
	file string
	errs Errors
}

func (d *decoder) fail(n *node, path, format string, args ...any) {
	d.errs = append(d.errs, &Error{File: d.file, Line: n.at.line, Column: n.at.column, Path: path, Msg: fmt.Sprintf(format, args...)})
}

func (d *decoder) decode(n *node, v reflect.Value, path string) {
	if n.kind == kindNull {
		d.fail(n, path, "has no value; give it one or remove the line")
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, v.Elem(), path)
		return
	}
	if d.custom(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Map:
		d.dict(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Interface:
		d.anything(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// custom handles types that read themselves.
func (d *decoder) custom(n *node, v reflect.Value, path string) bool {
	target := v.Addr().Interface()
	if std, ok := target.(*time.Duration); ok { // a bare 20 would be 20 ns
		target = (*Duration)(std)
	}
	switch t := target.(type) {
	case shaper:
		err := t.UnmarshalYAML(func(into any) error {
			inner := decoder{file: d.file}
			inner.decode(n, reflect.ValueOf(into), path)
			return inner.errs.orNil()
		})
		for _, e := range gather(d.file, err) {
			if e.Line == 0 {
				e.Line, e.Column, e.Path = n.at.line, n.at.column, path
			}
			d.errs = append(d.errs, e)
		}
		return true
	case encoding.TextUnmarshaler:
		if n.kind == kindList || n.kind == kindMap {
			d.fail(n, path, "must be one value, not %s", n.kind)
			return true
		}
		if err := t.UnmarshalText([]byte(n.value)); err != nil {
			msg := err.Error()
			if n.expanded() && n.value != "" {
				msg = strings.ReplaceAll(msg, n.value, n.written)
			}
			d.fail(n, path, "%s", msg)
		}
		return true
	}
	return false
}

func (d *decoder) object(n *node, v reflect.Value, path string) {
	if n.kind != kindMap {
		d.fail(n, path, "must be a map of keys and values, not %s", n.kind)
		return
	}
	fields := fieldsOf(v.Type())
	for _, e := range n.entries {
		field, ok := fields[e.key]
		if !ok {
			d.fail(e.value, path, "unknown key `%s`%s", e.key, suggestion(e.key, fields))
			d.errs[len(d.errs)-1].unknown = true
			continue
		}
		d.decode(e.value, v.FieldByIndex(field), KeyPath(path, e.key))
	}
}

// fieldsOf maps YAML keys to fields: the yaml tag's name, else the field's name in lower case. Fields tagged
// ",inline" and embedded structs give their keys to the outer one.
func fieldsOf(t reflect.Type) map[string][]int {
	out := make(map[string][]int)
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if f.Type.Kind() == reflect.Struct && (f.Anonymous && name == "" || slices.Contains(strings.Split(options, ","), "inline")) {
			for key, index := range fieldsOf(f.Type) {
				out[key] = append([]int{i}, index...)
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		out[name] = []int{i}
	}
	return out
}

func (d *decoder) dict(n *node, v reflect.Value, path string) {
	if n.kind != kindMap {
		d.fail(n, path, "must be a map of keys and values, not %s", n.kind)
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		d.fail(n, path, "cannot be read into %s", t)
		return
	}
	out := reflect.MakeMapWithSize(t, len(n.entries))
	for _, e := range n.entries {
		value := reflect.New(t.Elem()).Elem()
		d.decode(e.value, value, KeyPath(path, e.key))
		out.SetMapIndex(reflect.ValueOf(e.key).Convert(t.Key()), value)
	}
	v.Set(out)
}

func (d *decoder) list(n *node, v reflect.Value, path string) {
	if n.kind != kindList {
		d.fail(n, path, "must be a list, not %s", n.kind)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.decode(item, out.Index(i), indexPath(path, i))
	}
	v.Set(out)
}

// anything fills an empty interface, for text that is handed on to another library.
func (d *decoder) anything(n *node, v reflect.Value, path string) {
	if v.NumMethod() > 0 {
		d.fail(n, path, "cannot be read into %s", v.Type())
		return
	}
	var target any
	switch n.kind {
	case kindMap:
		target = new(map[string]any)
	case kindList:
		target = new([]any)
	case kindBool:
		target = new(bool)
	case kindNumber:
		target = new(float64)
		if _, err := strconv.ParseInt(n.value, 10, 64); err == nil {
			target = new(int64)
		}
	default:
		target = new(string)
	}
	filled := reflect.ValueOf(target).Elem()
	d.decode(n, filled, path)
	v.Set(filled)
}

func (d *decoder) scalar(n *node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		switch n.kind {
		case kindText:
			v.SetString(n.value)
		case kindNumber, kindBool:
			d.fail(n, path, "must be text; write it in quotes: %q", n.written)
		default:
			d.fail(n, path, "must be text, not %s", n.kind)
		}
	case reflect.Bool:
		if n.kind != kindBool && !n.expanded() || n.value != "true" && n.value != "false" {
			d.fail(n, path, "must be true or false, not %s", n.shown())
			return
		}
		v.SetBool(n.value == "true")
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(n.value, 64)
		if n.kind != kindNumber && !n.expanded() || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.fail(n, path, "must be a number, not %s", n.shown())
			return
		}
		v.SetFloat(f)
	default:
		d.integer(n, v, path)
	}
}

func (d *decoder) integer(n *node, v reflect.Value, path string) {
	if !v.CanInt() && !v.CanUint() {
		d.fail(n, path, "cannot be read into %s", v.Type())
		return
	}
	digits := strings.TrimPrefix(n.value, "-")
	if n.kind != kindNumber && !n.expanded() || !isDecimal(digits) {
		d.fail(n, path, "must be a whole number, not %s", n.shown())
		return
	}
	bits := v.Type().Bits()
	if v.CanInt() {
		if i, err := strconv.ParseInt(n.value, 10, bits); err == nil {
			v.SetInt(i)
			return
		}
		limit := uint64(1) << (bits - 1)
		d.fail(n, path, "%s is out of range; -%d to %d", n.written, limit, limit-1)
		return
	}
	if u, err := strconv.ParseUint(n.value, 10, bits); err == nil {
		v.SetUint(u)
		return
	}
	d.fail(n, path, "%s is out of range; 0 to %d", n.written, uint64(math.MaxUint64)>>(64-bits))
}

// isDecimal refuses 0x10, 1_000 and 010, which YAML versions read differently.
func isDecimal(s string) bool {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// shown is the node as an error names it.
func (n *node) shown() string {
	switch n.kind {
	case kindText:
		return strconv.Quote(n.written)
	case kindNumber, kindBool:
		return n.written
	}
	return n.kind.String()
}
