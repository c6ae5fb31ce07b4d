package job

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLibraryResolvesEveryReference(t *testing.T) { require.NoError(t, errLibrary) }

func TestRequestsLink(t *testing.T) {
	var l Ledger
	p := l.Place()
	for _, r := range []Request{
		Report(""), Log{}.Request("x"), Wait("x"), Write("x"), CloseStdin("x"), Signal("x", "TERM"), End("x"), Bury("x"),
		CheckPort(80), Follow("x", 80, true, 0), Adopt(p, NewStatus("x"), "y"),
		Start{}.Request(p, false), Start{}.Request(p, true),
	} {
		script := r.Script("/tmp/home")
		assert.Contains(t, script, "\n"+r.function+"() {")
		assert.Regexp(t, regexp.MustCompile(`\n`+r.function+`$`), script)
		assert.NotContains(t, script, "\n#")
	}
}

func TestMatcherFindsPatternAcrossWrites(t *testing.T) {
	for name, tc := range map[string]struct {
		writes []string
		want   bool
	}{
		"one line":           {[]string{"ready\n"}, true},
		"two writes":         {[]string{"lis", "tening\n"}, true},
		"no end of line":     {[]string{"x\nlistening"}, true},
		"two lines":          {[]string{"lis\n", "tening\n"}, false},
		"anchored at a line": {[]string{"not ready\nreadyx"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			found := 0
			m := NewMatcher(regexp.MustCompile("listening|^ready$"), func() { found++ })
			for _, w := range tc.writes {
				n, err := m.Write([]byte(w))
				require.NoError(t, err)
				require.Equal(t, len(w), n)
			}
			assert.Equal(t, tc.want, m.Matched())
			assert.Equal(t, tc.want, found == 1)
		})
	}
}

func TestLostIsToldOnce(t *testing.T) {
	var ledger Ledger
	ledger.Place()
	ledger.Add(Status{ID: "a", Running: true}, nil)
	ledger.Add(Status{ID: "b", Running: true}, nil)
	ledger.Update([]Status{{ID: "b"}}, false)
	require.True(t, ledger.Busy())
	var lost Lost
	lost.Add("task", &ledger)
	require.False(t, ledger.Busy())
	assert.False(t, lost.TakeOne("other", "a"))
	assert.True(t, lost.TakeOne("task", "a"))
	assert.False(t, lost.TakeOne("task", "a"))
	assert.Empty(t, lost.Take("task"))
}

func TestParseStatusRefusesCutAnswer(t *testing.T) {
	_, err := ParseStatus([]byte("0123456789ab 1 4 0\n\ntru"), "/tmp")
	require.ErrorContains(t, err, "cut")
	all, err := ParseStatus([]byte("0123456789ab 1 4 7 3 5.5 6.25\n\ntrue"), "/tmp")
	require.NoError(t, err)
	require.Equal(t, "true", all[0].Command)
	require.Equal(t, 3, all[0].ExitCode)
	require.Equal(t, "/tmp/0123456789ab/log", all[0].LogPath)
}
