package journal

import (
	"encoding/json"
	"errors"
	"fmt"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// ErrNewer is a journal that a newer version of the program has written: an older one must
// not guess over it.
var ErrNewer = errors.New("the journal is a newer version's")

// errGarbled is a row that cannot be a fact.
var errGarbled = errors.New("it is garbled")

// upgrade turns a fact's body of one version into that of the next.
type upgrade func(body []byte) ([]byte, error)

// codec turns facts into rows and back. It holds, by a fact's name, how a body of version 1
// becomes one of version 2, that one of 3, and so on; a fact that is not named has version 1.
type codec map[string][]upgrade

// known are the upgrades of this version. A fact whose fields come to mean something else
// gets one here, and a row of the old version in testdata; a field that is only added does
// not need one.
func known() codec { return codec{} }

// version is that which facts of this name are written with.
func (c codec) version(name string) int { return 1 + len(c[name]) }

func (c codec) encode(f sentinel.Fact) (body []byte, version int, err error) {
	if body, err = json.Marshal(f); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", f.FactName(), err)
	}
	return body, c.version(f.FactName()), nil
}

// decode reads a row's fact. One of a name or version that is not known is ErrNewer.
func (c codec) decode(name string, version int, body []byte) (sentinel.Fact, error) {
	fact := sentinel.NewFact(name)
	switch {
	case fact == nil:
		return nil, fmt.Errorf("is a %q, which this version does not know: %w", name, ErrNewer)
	case version > c.version(name):
		return nil, fmt.Errorf("is version %d of %q, which this version does not know: %w", version, name, ErrNewer)
	case version < 1:
		return nil, fmt.Errorf("is version %d of %q: %w", version, name, errGarbled)
	}
	for _, up := range c[name][version-1:] {
		next, err := up(body)
		if err != nil {
			return nil, fmt.Errorf("is a %s of an older version: %w: %w", name, errGarbled, err)
		}
		body = next
	}
	if err := json.Unmarshal(body, fact); err != nil {
		return nil, fmt.Errorf("is a %s: %w: %w", name, errGarbled, err)
	}
	return fact, nil
}
