package sentinel_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/escalation"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// FuzzFact: whatever lies in the journal, a fact that can be read is taken in, told, and
// lived with: the state that it makes still turns.
func FuzzFact(f *testing.F) {
	file, err := os.Open("testdata/facts.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	var all []byte
	for scan := bufio.NewScanner(file); scan.Scan(); {
		f.Add(bytes.Clone(scan.Bytes()))
		all = append(append(all, scan.Bytes()...), '\n')
	}
	f.Add(all)
	f.Add(bytes.ReplaceAll(all, []byte(`"s1"`), []byte(`"home"`)))
	plan := &shutdown.Plan{Site: "home", Nodes: []shutdown.Node{{Name: "pve1"}}, Stages: []shutdown.Stage{{Nodes: []string{"pve1"}, Deadline: time.Minute}}}
	f.Fuzz(func(t *testing.T, lines []byte) {
		s := sentinel.New(sentinel.Config{Brain: "brain", Threshold: 1, Times: sentinel.DefaultTimes(), Escalation: escalation.DefaultPolicy(), Contacts: []string{"Alex"},
			Sites: []sentinel.SiteConfig{{Name: "home", Nodes: []string{"pve1"}, Pis: []string{"pi"}, Plan: plan, Policy: power.DefaultPolicy()}}})
		at := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
		for line := range bytes.Lines(lines) {
			name, body, _ := bytes.Cut(line, []byte(" "))
			fact := sentinel.NewFact(string(name))
			if fact == nil || json.Unmarshal(body, fact) != nil {
				continue
			}
			at = at.Add(time.Second)
			s.Evolve(at, fact)
			_ = sentinel.Sentence(fact)
		}
		s.NextDeadline()
		s.OpenIncidents()
		s.OpenCalls()
		for name := range s.Sites {
			s.Mandate(name, "pi1", at)
		}
		s.Step(at, sentinel.Started{Version: "x"})
		for range 3 {
			at = at.Add(time.Minute)
			s.Step(at, sentinel.Tick{})
		}
	})
}
