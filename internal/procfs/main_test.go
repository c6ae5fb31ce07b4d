package procfs

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLibraryResolvesEveryReference(t *testing.T) { require.NoError(t, errLibrary) }
