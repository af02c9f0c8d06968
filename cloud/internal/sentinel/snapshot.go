package sentinel

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// SnapshotVersion is that of a snapshot's text. A field that is added needs no new one; one
// that comes to mean something else does.
const SnapshotVersion = 1

// ErrNewerSnapshot is a snapshot that a newer version of the program has made.
var ErrNewerSnapshot = errors.New("the snapshot is a newer version's")

// snapshot is the durable state as text: all that is exported, and beside it what is
// durable and is not.
type snapshot struct {
	Version int             `json:"version"`
	Made    json.RawMessage `json:"made"` // what New had made by the configuration of then
	State   json.RawMessage `json:"state"`
	Beside  beside          `json:"beside"`
}

type beside struct {
	Last time.Time `json:"last"`
}

// Snapshot writes down the state as the facts made it, for FromSnapshot to go on from. What
// only holds while time is watched is not part of it, as it is not of the facts.
func (s *State) Snapshot() ([]byte, error) {
	snap := snapshot{Version: SnapshotVersion, Beside: beside{Last: s.last}}
	var err error
	if snap.Made, err = json.Marshal(New(s.cfg)); err == nil {
		snap.State, err = json.Marshal(s)
	}
	if err != nil {
		return nil, fmt.Errorf("write the state down: %w", err)
	}
	return json.Marshal(snap)
}

// FromSnapshot gives back the state that Snapshot wrote down, as if its facts had been
// replayed with this configuration: what the one of then had added is not taken from it. It
// decides nothing. Text that cannot be a snapshot is an error, a newer version's
// ErrNewerSnapshot.
func FromSnapshot(cfg Config, data []byte) (*State, error) {
	var snap snapshot
	if err := json.Unmarshal(data, &snap); err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	switch {
	case snap.Version > SnapshotVersion:
		return nil, fmt.Errorf("read the snapshot: it is version %d: %w", snap.Version, ErrNewerSnapshot)
	case snap.Version < 1:
		return nil, errors.New("read the snapshot: it has no version")
	}
	s, err := snap.state(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	return s, nil
}

func (snap *snapshot) state(cfg Config) (*State, error) {
	base, err := snap.base(cfg)
	if err != nil {
		return nil, err
	}
	text, err := onto(base, snap.Made, snap.State)
	if err != nil {
		return nil, err
	}
	s := &State{cfg: cfg}
	strict := json.NewDecoder(strings.NewReader(string(text)))
	strict.DisallowUnknownFields()
	if err := strict.Decode(s); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return nil, fmt.Errorf("%w: %w", ErrNewerSnapshot, err)
		}
		return nil, err
	}
	if err := s.whole(); err != nil {
		return nil, err
	}
	s.last = snap.Beside.Last
	for _, site := range s.Sites {
		site.watched = map[string]bool{}
		for n := range site.Sources {
			site.note(n)
		}
	}
	return s, nil
}

// base is what New makes by today's configuration, with what the snapshot knows beside it
// made as Evolve does: a field that the snapshot is too old for is as it is then.
func (snap *snapshot) base(cfg Config) (json.RawMessage, error) {
	type site struct{ Sources, UPSes map[string]json.RawMessage }
	var was, is struct{ Sites map[string]*site }
	if err := json.Unmarshal(snap.Made, &was); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(snap.State, &is); err != nil {
		return nil, err
	}
	s := New(cfg)
	for name, known := range is.Sites {
		if known == nil {
			return nil, fmt.Errorf("%s is nothing", name)
		}
		made := was.Sites[name]
		if made == nil {
			made = &site{}
			s.site(name)
		}
		for n, text := range known.Sources {
			if string(made.Sources[n]) != string(text) {
				s.site(name).source(n)
			}
		}
		for n := range known.UPSes {
			s.ups(name, n)
		}
	}
	return json.Marshal(s)
}

// whole refuses what no facts can have made.
func (s *State) whole() error {
	for name, site := range s.Sites {
		if site == nil {
			return fmt.Errorf("the site %s is nothing", name)
		}
		for n, src := range site.Sources {
			if src == nil {
				return fmt.Errorf("%s is nothing", n)
			}
		}
		for n, u := range site.UPSes {
			if u == nil {
				return fmt.Errorf("%s is nothing", n)
			}
		}
		if r := site.Run; r != nil && (slices.Contains(r.Targets, nil) || r.Past < 0 || r.Past > len(r.Targets) || r.Stage >= len(r.Plan.Stages)) {
			return fmt.Errorf("the run %s is not whole", r.ID)
		}
		if r := site.Run; r != nil && r.Back != nil && slices.Contains(r.Back.Guests, nil) {
			return fmt.Errorf("what the run %s puts back is not whole", r.ID)
		}
	}
	if slices.Contains(s.Notices, nil) {
		return errors.New("a notice is nothing")
	}
	for name, ch := range s.Channels {
		if ch == nil {
			return fmt.Errorf("the channel %s is nothing", name)
		}
	}
	if slices.Contains(s.Tests, nil) {
		return errors.New("the test calls are not whole")
	}
	for id, i := range s.Incidents {
		if i == nil || slices.Contains(i.Calls, nil) {
			return fmt.Errorf("the incident %s is not whole", id)
		}
	}
	return nil
}

// onto has happen to base what has happened to made, of which facts made state.
func onto(base, made, state json.RawMessage) (json.RawMessage, error) {
	if !isObject(state) {
		return state, nil
	}
	b, err := object(base)
	if err != nil {
		return nil, err
	}
	m, err := object(made)
	if err != nil {
		return nil, err
	}
	s, err := object(state)
	if err != nil {
		return nil, err
	}
	for name := range m {
		if _, still := s[name]; !still {
			delete(b, name)
		}
	}
	for name, value := range s {
		was := m[name]
		if isObject(value) && string(value) == string(was) && len(value) > len("{}") {
			continue // no fact touched it: it is today's configuration that says
		}
		if b[name], err = onto(b[name], was, value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(b)
}

func isObject(text json.RawMessage) bool { return len(text) > 0 && text[0] == '{' }

func object(text json.RawMessage) (map[string]json.RawMessage, error) {
	o := map[string]json.RawMessage{}
	if !isObject(text) {
		return o, nil
	}
	return o, json.Unmarshal(text, &o)
}
