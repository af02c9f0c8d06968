package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Change is one key that differs between two configurations.
type Change struct {
	Key      string // such as failure.threshold, or sites[home].nodes
	From, To string // empty where How says it
	How      string // such as "+ pve4, - pve3", or "changed" of a secret
}

// String is the change in words.
func (c Change) String() string {
	if c.How != "" {
		return c.Key + ": " + c.How
	}
	return fmt.Sprintf("%s: from %s to %s", c.Key, c.From, c.To)
}

// Attrs are the change as a log has it.
func (c Change) Attrs() []any {
	if c.How != "" {
		return []any{"key", c.Key, "how", c.How}
	}
	return []any{"key", c.Key, "from", c.From, "to", c.To}
}

// Diff lists what differs between two configurations of one type, in the order of its
// fields. Items of lists go by their names where they have any. What is in a secret's file
// is not looked at.
func Diff(from, to any) []Change {
	var d differ
	d.value("", reflect.ValueOf(from), reflect.ValueOf(to))
	return d
}

type differ []Change

func (d *differ) how(key string, words ...string) {
	*d = append(*d, Change{Key: key, How: strings.Join(words, ", ")})
}

func (d *differ) value(key string, a, b reflect.Value) {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return
	}
	_, text := b.Interface().(encoding.TextMarshaler)
	_, secret := b.Interface().(Secret)
	_, private := b.Interface().(Private)
	switch {
	case secret, private:
		d.how(key, "changed")
	case text:
		d.plain(key, a, b)
	case a.Kind() == reflect.Pointer && (a.IsNil() || b.IsNil()):
		d.how(key, map[bool]string{true: "added", false: "removed"}[a.IsNil()])
	case a.Kind() == reflect.Pointer:
		d.value(key, a.Elem(), b.Elem())
	case a.Kind() == reflect.Struct:
		d.object(key, a, b)
	case a.Kind() == reflect.Map:
		d.items(key, dict(a), dict(b))
	case a.Kind() == reflect.Slice && a.Type().Elem().Kind() == reflect.String:
		d.words(key, a, b)
	case a.Kind() == reflect.Slice:
		d.items(key, list(a), list(b))
	default:
		d.plain(key, a, b)
	}
}

func (d *differ) plain(key string, a, b reflect.Value) {
	*d = append(*d, Change{Key: key, From: shownIn(a), To: shownIn(b)})
}

func shownIn(v reflect.Value) string {
	if text := fmt.Sprint(v.Interface()); text != "" {
		return text
	}
	return "nothing"
}

func (d *differ) object(key string, a, b reflect.Value) {
	fields := fieldsOf(a.Type())
	for _, name := range slices.SortedFunc(maps.Keys(fields), func(x, y string) int { return slices.Compare(fields[x], fields[y]) }) {
		path := name
		if key != "" {
			path = key + "." + name
		}
		d.value(path, a.FieldByIndex(fields[name]), b.FieldByIndex(fields[name]))
	}
}

// items are a list's or a map's, in their order, with what names each.
type items struct {
	names  []string
	values map[string]reflect.Value
}

func dict(v reflect.Value) items {
	out := items{values: map[string]reflect.Value{}}
	for it := v.MapRange(); it.Next(); {
		out.names = append(out.names, it.Key().String())
		out.values[it.Key().String()] = it.Value()
	}
	slices.Sort(out.names)
	return out
}

// list names items by the key name, or else by their place.
func list(v reflect.Value) items {
	out := items{values: map[string]reflect.Value{}}
	for i := range v.Len() {
		name := fmt.Sprint(i)
		if item := v.Index(i); item.Kind() == reflect.Struct {
			if index, ok := fieldsOf(item.Type())["name"]; ok {
				name = item.FieldByIndex(index).String()
			}
		}
		out.names = append(out.names, name)
		out.values[name] = v.Index(i)
	}
	return out
}

// items says what came and went, and what changed in those that stay.
func (d *differ) items(key string, a, b items) {
	how := comings(a.names, b.names)
	if len(how) == 0 && !slices.Equal(a.names, b.names) {
		how = []string{"now in the order " + strings.Join(b.names, ", ")}
	}
	if len(how) > 0 {
		d.how(key, how...)
	}
	for _, name := range b.names {
		if old, ok := a.values[name]; ok {
			d.value(fmt.Sprintf("%s[%s]", key, name), old, b.values[name])
		}
	}
}

func (d *differ) words(key string, a, b reflect.Value) {
	texts := func(v reflect.Value) (out []string) {
		for i := range v.Len() {
			out = append(out, v.Index(i).String())
		}
		return out
	}
	before, after := texts(a), texts(b)
	how := comings(before, after)
	if len(how) == 0 && !slices.Equal(before, after) {
		how = []string{"now in the order " + strings.Join(after, ", ")}
	}
	if len(how) > 0 { // or one is nil, and the other empty
		d.how(key, how...)
	}
}

func comings(before, after []string) []string {
	var how []string
	for _, name := range after {
		if !slices.Contains(before, name) {
			how = append(how, "+ "+name)
		}
	}
	for _, name := range before {
		if !slices.Contains(after, name) {
			how = append(how, "- "+name)
		}
	}
	return how
}
