package modalfake

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpoolReadAtAnyOffset(t *testing.T) {
	s := newSpool(t.TempDir())
	defer s.free()
	want := make([]byte, 300_000)
	for i := range want {
		want[i] = byte(i % 251)
	}
	_, err := s.Write(want)
	require.NoError(t, err)
	s.close()
	for _, from := range []int{0, 1, spoolHead - 1, spoolHead, 200_000} {
		got, buf := []byte(nil), make([]byte, 10_000)
		for offset := from; len(got) < len(want)-from; {
			n, err := s.ReadAt(t.Context(), buf, int64(offset))
			require.NoError(t, err)
			got = append(got, buf[:n]...)
			offset += n
		}
		require.True(t, bytes.Equal(want[from:], got), from)
	}
	_, err = s.ReadAt(t.Context(), make([]byte, 1), int64(len(want)))
	require.Equal(t, io.EOF, err)
	_, err = s.ReadAt(t.Context(), make([]byte, 1), spoolHead)
	require.Equal(t, errSpoolLost, err, "who has read the end does not come back")
}

func TestSpoolFileWrapsAround(t *testing.T) {
	s := newSpool(t.TempDir())
	defer s.free()
	block := bytes.Repeat([]byte{'x'}, 8<<20)
	offset, buf := int64(0), make([]byte, len(block))
	for i := range 40 { // 320 MiB
		block[0] = byte(i)
		_, err := s.Write(block)
		require.NoError(t, err)
		for read := 0; read < len(block); {
			n, err := s.ReadAt(t.Context(), buf[:len(block)-read], offset)
			require.NoError(t, err)
			if read == 0 {
				require.Equal(t, byte(i), buf[0])
			}
			read += n
			offset += int64(n)
		}
	}
	_, err := s.ReadAt(t.Context(), buf, spoolHead)
	require.Equal(t, errSpoolLost, err)
	_, err = s.ReadAt(t.Context(), buf, offset-64<<20)
	require.NoError(t, err, "a window that was lost can be sent again")
}
