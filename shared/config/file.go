package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
)

// maxSize is the largest configuration file that is read, in bytes.
const maxSize = 1 << 20

// File is a configuration file that has been read. It knows where each value stood, for errors about
// values that are well formed but make no sense.
type File struct {
	name  string
	place map[string]position
	wrong Errors // the values that could not be read
}

type position struct{ line, column int }

// Load reads the file at path into the struct that into points to. Values that the file does not name keep
// what the struct held before, so defaults go in first. The error is the operating system's, wrapped, if the
// file can't be read, and otherwise an Errors. Where only single values are wrong a File comes with it: the rest
// was taken, and can be checked too, so that a person sees in one go what is wrong.
func Load(path string, into any) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(path, data, into)
}

// Parse is Load for text at hand; name stands in for the file's name in errors.
func Parse(name string, data []byte, into any) (*File, error) {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("read %s: the target must be a pointer to a struct, not %T", name, into)
	}
	root, errs := parse(name, data)
	if len(errs) > 0 {
		return nil, errs.orNil()
	}
	file := &File{name: name, place: make(map[string]position)}
	file.index(root, "")
	if root.kind == kindNull { // nothing but comments: all defaults
		return file, nil
	}
	d := decoder{file: name}
	d.decode(root, target.Elem(), "")
	file.wrong = d.errs
	return file, d.errs.orNil()
}

func (f *File) index(n *node, path string) {
	f.place[path] = n.at
	for i, item := range n.items {
		f.index(item, indexPath(path, i))
	}
	for _, e := range n.entries {
		f.index(e.value, KeyPath(path, e.key))
	}
}

// Spoilt reports whether path may lack its value, or a part of it, because of what could not be read.
func (f *File) Spoilt(path string) bool {
	_, named := f.place[path]
	return slices.ContainsFunc(f.wrong, func(e *Error) bool {
		if e.unknown { // and perhaps path itself, misspelt
			return !named && within(path, e.Path)
		}
		return within(path, e.Path) || within(e.Path, path)
	})
}

// within reports whether a path is another one, or leads on from it.
func within(path, of string) bool {
	rest, ok := strings.CutPrefix(path, of)
	return ok && (rest == "" || of == "" || rest[0] == '.' || rest[0] == '[')
}

// Errorf makes an error at path, such as contacts[0].phone, plan[1].nodes.pve2.api or labels["a.b"]. If the
// file does not name it, the nearest parent that it does name gives the position.
func (f *File) Errorf(path, format string, args ...any) *Error {
	e := &Error{File: f.name, Path: path, Msg: fmt.Sprintf(format, args...)}
	for {
		if at, ok := f.place[path]; ok {
			e.Line, e.Column = at.line, at.column
			return e
		}
		if path == "" {
			return e
		}
		path = parentPath(path)
	}
}

// Join gathers errors, nil ones left out, into one Errors in the order of the file's lines; nil if there are none.
// What only follows from a value that could not be read is left out.
func (f *File) Join(errs ...error) error {
	var all Errors
	for _, err := range errs {
		for _, e := range gather(f.name, err) {
			if e.Path == "" || !f.Spoilt(e.Path) || slices.Contains(f.wrong, e) {
				all = append(all, e)
			}
		}
	}
	return all.orNil()
}

func indexPath(parent string, i int) string { return fmt.Sprintf("%s[%d]", parent, i) }

// KeyPath appends a key to a path for Errorf, quoted where a dot or bracket in it would make the path ambiguous.
func KeyPath(parent, key string) string {
	switch {
	case key == "" || strings.ContainsFunc(key, needsQuote):
		return fmt.Sprintf("%s[%q]", parent, key)
	case parent == "":
		return key
	}
	return parent + "." + key
}

func needsQuote(r rune) bool {
	return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

func parentPath(path string) string {
	cut := strings.LastIndexByte(path, '.')
	switch {
	case strings.HasSuffix(path, `"]`):
		cut = strings.LastIndex(path[:len(path)-2], `["`)
	case strings.HasSuffix(path, "]"):
		cut = strings.LastIndexByte(path, '[')
	}
	if cut < 0 {
		return ""
	}
	return path[:cut]
}
