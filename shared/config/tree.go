package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth bounds the nesting, since both the YAML library and the decoder recurse.
const maxDepth = 64

type kind int

const (
	kindNull kind = iota
	kindText
	kindNumber
	kindBool
	kindList
	kindMap
)

func (k kind) String() string {
	return [...]string{"empty", "text", "a number", "true or false", "a list", "a map"}[k]
}

// node is the plain part of YAML, with a position: that of its key, or of the list item itself.
type node struct {
	kind    kind
	at      position
	written string // a scalar as the file has it: errors quote this, never what a variable held
	value   string // a scalar after ${VAR}
	items   []*node
	entries []entry
}

type entry struct {
	key   string
	value *node
}

// expanded reports whether a variable was replaced: only then may text stand for a number or a truth value.
func (n *node) expanded() bool { return n.written != n.value }

// replaceVariables replaces each ${...}, also one that nothing closes.
func replaceVariables(s string, by func(ref string) string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexByte(s, '}') + 1
		if end == 0 {
			end = len(s)
		}
		b.WriteString(by(s[:end]))
		s = s[end:]
	}
}

// isVariable reports whether a reference is closed, and names what can be a variable.
func isVariable(ref string) bool {
	name, closed := strings.CutSuffix(strings.TrimPrefix(ref, "${"), "}")
	return closed && name != "" && only(name[:1], letters+capitals+"_") && only(name, letters+capitals+digits+"_")
}

func tabIndent(line []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("\t")) }

// builder turns the library's syntax tree into nodes and collects what it must refuse.
type builder struct {
	file string
	errs Errors
}

func (b *builder) fail(at position, path, format string, args ...any) {
	b.errs = append(b.errs, &Error{File: b.file, Line: at.line, Column: at.column, Path: path, Msg: fmt.Sprintf(format, args...)})
}

func parse(name string, data []byte) (*node, Errors) {
	b := &builder{file: name}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) > maxSize {
		b.fail(position{}, "", "is larger than %d KiB", maxSize>>10)
		return nil, b.errs
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		b.fail(position{1, 1}, "", "this is UTF-16 text; save it as UTF-8")
		return nil, b.errs
	}
	if at, bad := badByte(data); bad {
		b.fail(at, "", "this is not UTF-8 text")
		return nil, b.errs
	}
	body := b.syntax(data)
	if len(b.errs) > 0 {
		return nil, b.errs
	}
	root := b.build(body, position{1, 1}, "", 0)
	return root, b.errs
}

// badByte finds the first byte that no text editor writes: invalid UTF-8, or a control character.
func badByte(data []byte) (position, bool) {
	at := position{1, 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\n' && r != '\t' && r != '\r' {
			return at, true
		}
		at.column++
		if r == '\n' {
			at = position{at.line + 1, 1}
		}
		data = data[size:]
	}
	return at, false
}

// syntax runs the library and returns the body of the only document, nil if it is empty.
func (b *builder) syntax(data []byte) (body ast.Node) {
	// A wrong file must stay an error, also where it takes the library by surprise.
	defer func() {
		if p := recover(); p != nil {
			b.fail(position{1, 1}, "", "this is not YAML that can be read")
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if at, deep := tooDeep(tokens); deep {
		b.fail(at, "", "nested deeper than %d levels", maxDepth)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		b.syntaxError(err, data)
		return nil
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			b.fail(where(doc.Body, position{1, 1}), "", "a second document starts here; a configuration file holds one")
			return nil
		}
		body = doc.Body
	}
	return body
}

func (b *builder) syntaxError(err error, data []byte) {
	at, msg := position{1, 1}, "this is not YAML that can be read"
	var detailed yaml.Error
	if errors.As(err, &detailed) {
		msg = "not YAML: " + syntaxHelp(strings.Join(strings.Fields(detailed.GetMessage()), " "))
		if tk := detailed.GetToken(); tk != nil && tk.Position != nil {
			at = position{tk.Position.Line, tk.Position.Column}
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	if at.line >= 1 && at.line <= len(lines) && tabIndent(lines[at.line-1]) {
		msg = "not YAML: indent with spaces, not with tabs"
	}
	b.fail(at, "", "%s", msg)
}

// syntaxHelp says what to look for, where the library names only what it stumbled over.
func syntaxHelp(msg string) string {
	switch {
	case strings.Contains(msg, "not allowed in this context"):
		return "see that this line is indented like those beside it, and that quotes before it are closed"
	case strings.Contains(msg, "flow mapping end"):
		return "this { is never closed by a }"
	case strings.Contains(msg, "sequence end"):
		return "this [ is never closed by a ]"
	}
	return msg
}

// tooDeep looks for nesting that needs no indentation, [[[[ and - - - -, before the library recurses over it.
func tooDeep(tokens token.Tokens) (position, bool) {
	flow, inLine, line := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, inLine = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			inLine++
		}
		if flow > maxDepth || inLine > maxDepth {
			return position{tk.Position.Line, tk.Position.Column}, true
		}
	}
	return position{}, false
}

// where is the position of a node's first token, or the fallback if the library has none.
func where(n ast.Node, fallback position) position {
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() && it.Key() != nil {
			n = it.Key()
		}
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil || tk.Position.Line < 1 {
		return fallback
	}
	return position{tk.Position.Line, tk.Position.Column}
}

func (b *builder) build(n ast.Node, at position, path string, depth int) *node {
	out := &node{at: at}
	if depth > maxDepth {
		b.fail(at, path, "nested deeper than %d levels", maxDepth)
		return out
	}
	switch n := n.(type) {
	case nil, *ast.NullNode:
	case *ast.MappingNode, *ast.MappingValueNode:
		b.buildMap(n.(ast.MapNode), out, path, depth)
	case *ast.SequenceNode:
		out.kind = kindList
		for i, item := range n.Values {
			place := where(item, at)
			if item.Type() == ast.NullType && i < len(n.Entries) { // the library puts it behind its dash
				start := n.Entries[i].Start.Position
				place = position{start.Line, start.Column}
			}
			out.items = append(out.items, b.build(item, place, indexPath(path, i), depth+1))
		}
	case *ast.StringNode:
		out.kind = kindText
		b.text(out, n.Value, path)
	case *ast.LiteralNode:
		out.kind = kindText
		b.text(out, n.Value.Value, path)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind = kindNumber
		out.written = n.GetToken().Value
		out.value = out.written
	case *ast.BoolNode:
		out.kind = kindBool
		out.written = n.Token.Value
		out.value = out.written
	case *ast.AnchorNode, *ast.AliasNode:
		b.fail(at, path, "anchors (&) and aliases (*) are not supported; write the value out, or put text in quotes")
	case *ast.TagNode:
		b.fail(at, path, "tags (!) are not supported; remove it, or put text in quotes")
	default:
		b.fail(at, path, "this kind of YAML is not supported here")
	}
	return out
}

func (b *builder) buildMap(m ast.MapNode, out *node, path string, depth int) {
	out.kind = kindMap
	first := make(map[string]position)
	for it := m.MapRange(); it.Next(); {
		at := where(it.Key(), out.at)
		key, ok := keyText(it.Key())
		if !ok {
			b.fail(at, path, "a key must be plain text")
			continue
		}
		if before, dup := first[key]; dup {
			b.fail(at, KeyPath(path, key), "this key is already on line %d", before.line)
			continue
		}
		first[key] = at
		out.entries = append(out.entries, entry{key, b.build(it.Value(), at, KeyPath(path, key), depth+1)})
	}
}

func keyText(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return k.GetToken().Value, true
	}
	return "", false
}

func (b *builder) text(out *node, written, path string) {
	out.written = written
	out.value = replaceVariables(written, func(ref string) string {
		if !isVariable(ref) {
			b.fail(out.at, path, "%s is no variable; write ${NAME}", ref)
			return ref
		}
		value, ok := os.LookupEnv(ref[2 : len(ref)-1])
		if !ok {
			b.fail(out.at, path, "the environment variable %s is not set", ref[2:len(ref)-1])
		}
		return value
	})
}
