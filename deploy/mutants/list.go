package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const gremlins = "github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0"

// mutant is one break: an operator of a function and what stands there instead.
type mutant struct {
	file, within, line, kind string
	at                       int // where the operator begins, in bytes
	row, column              int // the same, from 1
	first, last              int // rows of its function
	is, becomes              token.Token
	came                     outcome
}

// String is how survivors.txt names it: the file, the function, the line and the break.
func (m mutant) String() string {
	return strings.Join([]string{m.file, m.within, m.line, m.kind}, " | ")
}

// becomes is what gremlins' kinds of breaks turn an operator into.
func becomes(kind string, is token.Token) (token.Token, bool) {
	table := map[string]map[token.Token]token.Token{
		"ARITHMETIC_BASE":       {token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.MUL},
		"CONDITIONALS_BOUNDARY": {token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR},
		"CONDITIONALS_NEGATION": {token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.GEQ, token.GEQ: token.LSS,
			token.GTR: token.LEQ, token.LEQ: token.GTR},
		"INCREMENT_DECREMENT": {token.INC: token.DEC, token.DEC: token.INC},
		"INVERT_LOGICAL":      {token.LAND: token.LOR, token.LOR: token.LAND},
		"INVERT_LOOPCTRL":     {token.BREAK: token.CONTINUE, token.CONTINUE: token.BREAK},
		"INVERT_NEGATIVES":    {token.SUB: token.ADD},
	}
	to, ok := table[kind][is]
	return to, ok
}

// list has gremlins name the breaks of a package. Those outside of functions are left out.
// Its own running of them is not used: it leaves out what Go's coverage does not see, which
// is each condition of a switch, and takes a busy machine's slowness for a break noticed.
func list(pkg string) ([]*mutant, error) {
	out := filepath.Join(os.TempDir(), fmt.Sprintf("mutants-%d.json", os.Getpid()))
	defer os.Remove(out)
	cmd := exec.Command("go", "run", gremlins, "unleash", "./"+pkg, "--dry-run", "--invert-logical", "--invert-loopctrl", "-o", out)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("list the breaks of %s: %w\n%s", pkg, err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("list the breaks of %s: %w", pkg, err)
	}
	var report struct {
		Files []struct {
			Name      string `json:"file_name"`
			Mutations []struct {
				Type         string
				Line, Column int
			}
		}
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, fmt.Errorf("list the breaks of %s: %w", pkg, err)
	}
	var found []*mutant
	for _, f := range report.Files {
		path := filepath.Join(pkg, filepath.Base(f.Name))
		src, err := readSource(path)
		if err != nil {
			return nil, err
		}
		for _, m := range f.Mutations {
			b, err := src.mutant(m.Type, m.Line, m.Column)
			if err != nil {
				return nil, err
			}
			if b.within != "" && !slices.ContainsFunc(found, b.same) { // a minus is named twice
				found = append(found, b)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *mutant) int { return strings.Compare(a.String(), b.String()) })
	return found, nil
}

func (m *mutant) same(o *mutant) bool {
	return m.file == o.file && m.at == o.at && m.becomes == o.becomes
}

// source is a file, to name places in it by what stands there.
type source struct {
	path string
	text []byte
	set  *token.FileSet
	file *ast.File
}

func readSource(path string) (*source, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what is to be broken: %w", err)
	}
	s := &source{path: path, text: text, set: token.NewFileSet()}
	if s.file, err = parser.ParseFile(s.set, path, text, 0); err != nil {
		return nil, fmt.Errorf("parse what is to be broken: %w", err)
	}
	return s, nil
}

func (s *source) mutant(kind string, line, column int) (*mutant, error) {
	begin := s.set.File(s.file.Pos()).LineStart(line)
	text, _, _ := strings.Cut(string(s.text[s.set.Position(begin).Offset:]), "\n")
	m := &mutant{file: s.path, line: strings.TrimSpace(text), at: s.set.Position(begin).Offset + column - 1, row: line, column: column}
	m.within, m.first, m.last = s.function(line)
	var ok bool
	m.is = operator(s.text[m.at:])
	if m.becomes, ok = becomes(kind, m.is); !ok {
		return nil, fmt.Errorf("%s: no %s of %q at %d:%d", s.path, kind, m.is, line, column)
	}
	m.kind = fmt.Sprintf("%s at %q (%d)", strings.ToLower(strings.ReplaceAll(kind, "_", " ")), m.is, strings.Count(text[:column-1], m.is.String())+1)
	return m, nil
}

// operator is the one that a text begins with.
func operator(text []byte) token.Token {
	set := token.NewFileSet()
	var s scanner.Scanner
	s.Init(set.AddFile("", set.Base(), len(text)), text, nil, 0)
	_, is, _ := s.Scan()
	return is
}

// function is the one that a line belongs to, with its first line and its last; empty: none.
func (s *source) function(line int) (name string, first, last int) {
	for _, d := range s.file.Decls {
		first, last = s.set.Position(d.Pos()).Line, s.set.Position(d.End()).Line
		if f, ok := d.(*ast.FuncDecl); ok && first <= line && line <= last {
			return f.Name.Name, first, last
		}
	}
	return "", 0, 0
}
