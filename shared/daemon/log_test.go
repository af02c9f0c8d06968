package daemon

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
)

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	t.Setenv("JOURNAL_STREAM", "")
	Logger(&b, slog.LevelInfo, "json").Info("hello", "time", "kept")
	var record map[string]any
	if err := json.Unmarshal(b.Bytes(), &record); err != nil || record["msg"] != "hello" {
		t.Errorf("%s: %v", b.String(), err)
	}
	b.Reset()
	Logger(&b, slog.LevelWarn, "text").Info("hidden")
	if b.Len() > 0 {
		t.Errorf("below the level, yet %s", b.String())
	}
	if Logger(&b, slog.LevelInfo, "text").Info("x"); !strings.HasPrefix(b.String(), "time=") {
		t.Errorf("no time in %s", b.String())
	}
	b.Reset()
	t.Setenv("JOURNAL_STREAM", "8:1234")
	Logger(&b, slog.LevelInfo, "text").WithGroup("g").Info("x", "time", "kept")
	if got := b.String(); got != "level=INFO msg=x g.time=kept\n" {
		t.Errorf("in the journal: %s", got)
	}
}

func TestVersion(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}
	for want, info := range map[string]*debug.BuildInfo{
		"devel":              {},
		"v1.2.3":             {Main: debug.Module{Version: "v1.2.3"}, Settings: vcs},
		"0123456789ab+dirty": {Main: debug.Module{Version: "(devel)"}, Settings: vcs},
		"0123456789ab":       {Settings: vcs[:1]},
	} {
		if got := version(info); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if Version() == "" {
		t.Error("empty version")
	}
}
