package notify

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"sentinel.home.arpa/shared/speech"
)

// Bounds of a person's own texts.
const (
	// MostSeconds is how long a text may take the first time that it is said.
	MostSeconds = 30
	maxFile     = 64 << 10 // of templates
)

// LoadTexts reads a person's own texts, which take the place of single ones that are shipped: a
// file of templates in the usual language, or a directory of files such as texts.de.tmpl, each in
// its own. They are tried with every sample, for each of the people and sites, before
// one is needed; fits says what else a text must be.
func LoadTexts(path string, usual speech.Language, contacts, sites []string, fits func(text string, l speech.Language) error) (*Texts, error) {
	files := map[speech.Language]string{usual: path}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the texts of calls: %w", err)
	}
	if info.IsDir() {
		if files, err = textsIn(path); err != nil {
			return nil, err
		}
	}
	t := &Texts{own: map[speech.Language]*template.Template{}}
	var wrong []error
	for _, l := range slices.Sorted(maps.Keys(files)) {
		tmpl, err := own(files[l], l)
		if err == nil {
			t.own[l] = tmpl
			err = t.try(files[l], l, contacts, sites, fits)
		}
		wrong = append(wrong, err)
	}
	return t, errors.Join(wrong...)
}

// textsIn are the files of a directory, by language.
func textsIn(dir string) (map[speech.Language]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.tmpl"))
	if err != nil {
		return nil, fmt.Errorf("read the texts of calls: %w", err)
	}
	files := map[speech.Language]string{}
	for _, path := range found {
		language := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "texts."), ".tmpl")
		if !slices.Contains(speech.Languages(), speech.Language(language)) {
			return nil, fmt.Errorf("%s: is of no language; name it texts.en.tmpl, texts.de.tmpl or texts.zh.tmpl", path)
		}
		files[speech.Language(language)] = path
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: there are no texts in it; put in texts.en.tmpl, texts.de.tmpl or texts.zh.tmpl", dir)
	}
	return files, nil
}

// own reads a file on top of the shipped texts.
func own(path string, l speech.Language) (*template.Template, error) {
	data, err := readText(path)
	if err != nil {
		return nil, err
	}
	base, err := shippedIn(l)
	if err != nil {
		return nil, err
	}
	alone, err := template.New(path).Funcs(l.Funcs()).Parse(data)
	if err != nil {
		return nil, placed(err)
	}
	if rest := alone.Tree; rest != nil && strings.TrimSpace(rest.Root.String()) != "" {
		return nil, fmt.Errorf("%s: %.40q stands outside of any text; put it between {{define \"power_outage\"}} and {{end}}", path, strings.TrimSpace(rest.Root.String()))
	}
	used := map[string]bool{}
	for _, part := range alone.Templates() {
		if part.Tree != nil {
			uses(part.Tree.Root, used)
		}
	}
	for _, part := range alone.Templates() {
		switch name := part.Name(); {
		case name == path:
		case parse.IsEmptyTree(part.Tree.Root):
			return nil, fmt.Errorf("%s: %s says nothing; write {{\"\"}} in it if that is meant, or remove it", path, name)
		case base.Lookup(name) == nil && !used[name]:
			return nil, fmt.Errorf("%s: no call says %q; the texts are %s", path, name, strings.Join(Kinds(), ", "))
		default:
			if _, err := base.AddParseTree(name, part.Tree); err != nil {
				return nil, placed(err)
			}
		}
	}
	return base, nil
}

func readText(path string) (string, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("read the texts of calls: %w; let the group of the brain read it", err)
	case err != nil:
		return "", fmt.Errorf("read the texts of calls: %w", err)
	case len(data) > maxFile:
		return "", fmt.Errorf("%s: is over %d bytes", path, maxFile)
	}
	return string(data), nil
}

// placed is a template's error, which names the file and the line that it is about.
func placed(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "template: "))
}

// uses notes which templates a part calls.
func uses(n parse.Node, used map[string]bool) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, c := range n.Nodes {
				uses(c, used)
			}
		}
	case *parse.TemplateNode:
		used[n.Name] = true
	case *parse.IfNode:
		uses(n.List, used)
		uses(n.ElseList, used)
	case *parse.WithNode:
		uses(n.List, used)
		uses(n.ElseList, used)
	case *parse.RangeNode:
		uses(n.List, used)
		uses(n.ElseList, used)
	}
}

// try has every sample said.
func (t *Texts) try(path string, l speech.Language, contacts, sites []string, fits func(text string, l speech.Language) error) error {
	for _, kind := range Kinds() {
		for _, contact := range contacts {
			for _, site := range sites {
				for _, s := range Samples(kind, contact, site) {
					text, err := t.Say(s.Story, l)
					switch {
					case err != nil:
						var where template.ExecError
						if errors.As(err, &where) {
							err = placed(where)
						}
						return fmt.Errorf("%w; seen with %q", err, s.Name)
					case text == "":
						return fmt.Errorf("%s: %s says nothing; seen with %q", path, kind, s.Name)
					case l.Seconds(text) > MostSeconds:
						return fmt.Errorf("%s: %s takes %.0f s to be said, and %d s is what people listen to; shorten it; seen with %q", path, kind, l.Seconds(text), MostSeconds, s.Name)
					}
					if err := fits(text, l); err != nil {
						return fmt.Errorf("%s: %s does not fit: %w; seen with %q", path, kind, err, s.Name)
					}
				}
			}
		}
	}
	return nil
}
