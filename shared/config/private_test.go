package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestR4_WhatIsPrivateIsNotShown by whatever prints the configuration, or says what changed in it.
func TestR4_WhatIsPrivateIsNotShown(t *testing.T) {
	type file struct {
		Notices []Private `yaml:"notices"`
		One     Private   `yaml:"one"`
	}
	var before, after file
	for text, into := range map[string]*file{"one: ntfy://token1\nnotices: [slack://token2]": &before, "one: ntfy://token3\nnotices: [slack://token4]": &after} {
		if _, err := Parse("x.yaml", []byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if before.One.Reveal() != "ntfy://token1" || before.Notices[0].Reveal() != "slack://token2" {
		t.Errorf("%q", before.One.Reveal())
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "one", before.One, "all", before)
	asJSON, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	changes := Diff(before, after)
	said := log.String() + string(asJSON) + fmt.Sprintf("%v %+v %#v %s %q", before, before, before, before.One, before.One) + fmt.Sprint(changes)
	if strings.Contains(said, "token") {
		t.Errorf("it is shown: %s", said)
	}
	if len(changes) != 2 || changes[1].String() != "one: changed" {
		t.Errorf("%v", changes)
	}
	if _, err := Parse("x.yaml", []byte(`one: ""`), &after); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Error(err)
	}
}
