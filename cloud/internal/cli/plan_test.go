package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const plan = `{"site":"home","armed":true,"pis":["pi"],"stages":[
	{"number":1,"begins_ns":10000000000,"ends_ns":190000000000,"guests":true,"targets":[{"kind":"guest","name":"mail","node":"pve2"},{"kind":"guest","name":"nas","node":"pve1"},{"kind":"guest","name":"web","node":"pve2"}]},
	{"number":2,"begins_ns":190000000000,"ends_ns":280000000000,"targets":[{"kind":"node","name":"pve2"},{"kind":"node","name":"pve3"}]}],`

// answering is a brain that answers every question with the same, and presses with 204.
func answering(t *testing.T, text string) (Operator, *[]string) {
	var asked []string
	o, _ := brain(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fmt.Fprint(w, text)
	})
	return o, &asked
}

// TestPlan is what the verbs make of the brain's answers, and how they exit.
func TestPlan(t *testing.T) {
	stages := "   +0:10  stage 1 of 2, at most 3:00: 3 guests\n          pve1: nas\n          pve2: mail, web\n   +3:10  stage 2 of 2, at most 1:30: pve2, pve3\n   +4:40  all is down, at the latest\n\n"
	show := func(o Operator, w *strings.Builder) error { return o.PlanShow(w, false) }
	check := func(o Operator, w *strings.Builder) error { return o.PlanCheck(w, "", false) }
	simulate := func(o Operator, w *strings.Builder) error {
		return o.PlanSimulate(w, Outage{UPS: "ups", Runtime: "9m", Charge: "40%"}, false)
	}
	for _, tt := range []struct {
		name, answer string
		do           func(o Operator, w *strings.Builder) error
		asked, want  string
		bad          bool
	}{
		{"it lasts", plan + `"upses":[{"text":"ups reports 42 min: it lasts","lasts":"yes"}]}`, show, "GET /api/v1/plan",
			"home: the plan is armed; confirmed by pi\n\nIf the power went now:\n   +0:10  the plan begins, at once if the battery is too short for it\n" + stages + "ups reports 42 min: it lasts\n", false},
		{"what stays on", `{"site":"home","stages":[],"fed":["If desk alone is out: pve1 stays on."],"upses":[{"text":"ups: it lasts","lasts":"yes"}]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\n\nIf the power went now:\n\nups: it lasts\nIf desk alone is out: pve1 stays on.\n", false},
		{"simulated for one of two", plan + `"ups":"ups","begins_ns":10000000000,"because":"the power has been out for 10 s","lasts":"yes","text":"the battery lasts","stay_on":["pve1","nas"]}`, simulate,
			"GET /api/v1/plan/simulate?charge=40%25&runtime=9m&ups=ups",
			"   +0:00  the power goes at home; ups\n   +0:10  the plan begins, because the power has been out for 10 s\n" + stages + "Left on, since ups alone does not call for them: pve1, nas.\nThe battery lasts.\n", false},
		{"it does not, and a node is silent", plan + `"unconfirmed_by":["pi"],"stopped_by":"alex","silent":[{"node":"pve3","why":"it did not answer in time"}],"upses":[{"text":"ups reports 1 min","lasts":"no"}]}`, show, "GET /api/v1/plan",
			"home: the plan is armed, but pi has not confirmed\nalex stopped it; it does not begin again before the power is back.\n\nIf the power went now:\n   +0:10  the plan begins, at once if the battery is too short for it\n" +
				stages + "pve3 does not tell which guests run on it: it did not answer in time\nups reports 1 min\n", true},
		{"it runs", plan + `"on_battery":["ups has been on battery for 20 s"],"runs":[{"title":"The plan advances","state":"advancing","reason":"the power has been out for 10 s","now":"stage 1 of 2","next":"stage 2 of 2, pve3, begins at 19:05:21 at the latest","targets":[{"name":"mail","state":"down"},{"name":"nas","state":"told"}]}],"upses":[{"text":"ups: it lasts","lasts":"yes"}]}`, show, "GET /api/v1/plan",
			"home: the plan is armed; confirmed by pi\nups has been on battery for 20 s\nThe plan advances, because the power has been out for 10 s\n  stage 1 of 2\n  down: mail\n  told, and not seen down yet: nas\n  stage 2 of 2, pve3, begins at 19:05:21 at the latest\n", false},
		{"it ran, and one was late", `{"site":"home","runs":[{"title":"The plan has run; not all went down","state":"ended","reason":"x","targets":[{"name":"nas","state":"late","why":"no answer"}]}]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\nThe plan has run; not all went down; it began, because x\n  nas was not down at its deadline: no answer\n", true},
		{"it is to run", `{"site":"home","on_battery":["ups has been on battery for 2 s"],"upses":[{"text":"ups: it lasts"}]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\nups has been on battery for 2 s\n\nThe power is out. If it stays so, counted from when it went:\n\nups: it lasts\n", false},
		{"just after it", `{"site":"home","runs":[{"title":"Last run of the plan: 19:02","past":true}],"off":[{"text":"nas on pve1 is off still"}],"upses":[{"text":"ups: it lasts"}]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\nLast run of the plan: 19:02\nnas on pve1 is off still\n\nIf the power went now:\n\nups: it lasts\n", true},
		{"the pools are not known", `{"site":"home","stages":[],"unpooled":[{"node":"pve1","why":"the API answered 500"}],"upses":[{"text":"ups: it lasts","lasts":"yes"}]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\n\nIf the power went now:\n\npve1 does not tell its guests' pools, so none of them is shown in a stage by its pool: the API answered 500\nups: it lasts\n", true},
		{"what else begins it", `{"site":"home","stages":[],"stopped_by":"alex","stopped_for":"node_failure","on_failure":true,"internet_after_ns":1800000000000,"upses":[{"text":"ups: it lasts","lasts":"yes"}]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\nalex stopped it; it does not begin again for what it had begun for.\nIt also begins when nodes fail and you are called, and on the Pi once the internet has been out for 30:00.\n\nIf the power went now:\n\nups: it lasts\n", false},
		{"the internet begins it", `{"site":"home","stages":[],"internet_after_ns":1800000000000,"upses":[{"text":"ups: it lasts","lasts":"yes"}]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\nIt also begins on the Pi once the internet has been out for 30:00.\n\nIf the power went now:\n\nups: it lasts\n", false},
		{"nothing is known of a UPS", `{"site":"home","stages":[]}`, show, "GET /api/v1/plan",
			"home: the plan is not armed\n\nIf the power went now:\n\nNo UPS has been heard of, so nothing would begin it.\n", false},
		{"fine", `{"site":"home","fit":true,"findings":[{"severity":"note","target":"pve1","text":"it shows the pinned certificate"}]}`, check, "GET /api/v1/plan/check",
			"note     pve1: it shows the pinned certificate\nhome: the plan is fine.\n", false},
		{"unfit", `{"site":"home","findings":[{"severity":"refusal","target":"pve1","text":"it is not reached; look","through":"through pi"},{"severity":"warning","target":"token","text":"too much"}]}`, check, "GET /api/v1/plan/check",
			"refusal  pve1: it is not reached; look (through pi)\nwarning  token: too much\nhome: the plan cannot be armed like this.\n", true},
		{"a warning", `{"site":"home","fit":true,"findings":[{"severity":"warning","target":"token","text":"too much"}]}`, check, "GET /api/v1/plan/check",
			"warning  token: too much\nhome: the plan can be armed, and would not run as well as it should.\n", true},
		{"simulated", plan + `"ups":"ups","runtime_ns":540000000000,"charge_ratio":0.4,"begins_ns":10000000000,"because":"the power has been out for 10 s","lasts":"yes","text":"the battery lasts"}`, simulate,
			"GET /api/v1/plan/simulate?charge=40%25&runtime=9m&ups=ups",
			"   +0:00  the power goes at home; ups, 40 %, 9:00 of battery\n   +0:10  the plan begins, because the power has been out for 10 s\n" + stages + "The battery lasts.\n", false},
		{"simulated, and too short", `{"site":"home","begins_ns":0,"because":"the battery is down to 5 percent","lasts":"no","text":"it is empty too early"}`, simulate,
			"GET /api/v1/plan/simulate?charge=40%25&runtime=9m&ups=ups",
			"   +0:00  the power goes at home; a UPS\n   +0:00  the plan begins, because the battery is down to 5 percent; it is not armed, so nothing would really be shut down\n\nIt is empty too early.\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, asked := answering(t, tt.answer)
			var b strings.Builder
			if err := tt.do(o, &b); errors.Is(err, ErrBadNews) != tt.bad || err != nil && !tt.bad {
				t.Errorf("ends with %v", err)
			}
			if b.String() != tt.want || (*asked)[0] != tt.asked {
				t.Errorf("asked %q, it says\n%s", *asked, b.String())
			}
		})
	}
}

// TestPlan_Network is said before the check.
func TestPlan_Network(t *testing.T) {
	o, asked := answering(t, `{"site":"home","fit":true}`)
	var b strings.Builder
	if err := o.PlanCheck(&b, "no", true); err != nil || b.String() != `{"site":"home","fit":true}` || (*asked)[0] != "POST /api/v1/plan/network?on-ups=no" {
		t.Errorf("%v, asked %q, it says %q", err, *asked, b.String())
	}
}

// TestS10_StopWaitsForThePi says what a stop leaves once the Pi knows of it, and that it does
// not if it does not.
func TestS10_StopWaitsForThePi(t *testing.T) {
	for _, tt := range []struct {
		name, pis string
		want      string
	}{
		{"confirmed", ``, "home: the plan was stopped by alex, and does not begin again before the power is back; pve1 stays up.\n"},
		{"silent", `"pi"`, "home: the plan was stopped by alex, but pi has not confirmed and may go on; pve1 stays up.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, asked := answering(t, `{"sites":[{"name":"office"},{"name":"home","has_plan":true,"stopped_by":"alex","stop_says":"pve1 stays up","stop_unconfirmed_by":[`+tt.pis+`]}]}`)
			o.Patience = time.Nanosecond
			var b strings.Builder
			if err := o.PlanStop(&b); errors.Is(err, ErrBadNews) != (tt.pis != "") || b.String() != tt.want || (*asked)[0] != "POST /api/v1/plan/stop" {
				t.Errorf("%v, asked %q, it says %q", err, *asked, b.String())
			}
		})
	}
}

// TestS0_StopOfWhatBeganForAFailure says for what it holds.
func TestS0_StopOfWhatBeganForAFailure(t *testing.T) {
	o, _ := answering(t, `{"sites":[{"name":"home","has_plan":true,"stopped_by":"alex","stopped_for":"node_failure"}]}`)
	var b strings.Builder
	if err := o.PlanStop(&b); err != nil || b.String() != "home: the plan was stopped by alex, and does not begin again for what it had begun for.\n" {
		t.Errorf("%v, it says %q", err, b.String())
	}
}

// TestArm_Warnings are written before what is so.
func TestArm_Warnings(t *testing.T) {
	pressed := ""
	o, _ := brain(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			pressed = r.RequestURI
			fmt.Fprint(w, `{"warnings":["pve3 is not reached"]}`)
			return
		}
		fmt.Fprint(w, `{"sites":[{"name":"home","has_plan":true,"armed":true}]}`)
	})
	var b strings.Builder
	if err := o.Arm(&b, true, true); err != nil || b.String() != "! pve3 is not reached\nhome: the plan is armed; a power cut really shuts machines down.\n" || pressed != "/api/v1/plan/arm?force=yes" {
		t.Errorf("%v, pressed %q, it says %q", err, pressed, b.String())
	}
}

// TestS10_ArmingUndoesNoStop says so while the power is still out.
func TestS10_ArmingUndoesNoStop(t *testing.T) {
	o, _ := answering(t, `{"sites":[{"name":"home","has_plan":true,"armed":true,"stopped_by":"alex"}]}`)
	var b strings.Builder
	if err := o.Arm(&b, true, false); err != nil || !strings.Contains(b.String(), "the plan of this power cut stays stopped") {
		t.Errorf("%v, it says %q", err, b.String())
	}
}

// TestStatus_Runs shows where a run is, and that one was stopped.
func TestStatus_Runs(t *testing.T) {
	o, _ := answering(t, `{"verdict":"On battery.","sites":[{"name":"home","has_plan":true,"armed":true,"stopped_by":"alex","stop_says":"pve1 stays up","runs":[
		{"title":"The plan was stopped","state":"stopped","reason":"the power has been out for 10 s"},
		{"title":"The Pi's own run advances","state":"advancing","reason":"the brain is silent","now":"stage 2 of 3: pve2, pve3; waits for pve3 at most 1 min 40 s"}]}]}`)
	var b strings.Builder
	_ = o.Status(&b, false)
	for _, want := range []string{"  The plan was stopped; it began, because the power has been out for 10 s\n",
		"  The Pi's own run advances, because the brain is silent\n    stage 2 of 3: pve2, pve3; waits for pve3 at most 1 min 40 s\n",
		"  the plan was stopped by alex, and does not begin again before the power is back; pve1 stays up\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, b.String())
		}
	}
}
