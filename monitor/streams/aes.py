"""AES-128 as HLS uses it (RFC 8216, 4.3.2.4): a whole segment in CBC mode with PKCS#7 padding."""

from __future__ import annotations

from monitor.errors import StreamError, StreamReason

BLOCK = 16


def decrypt(data: bytes, key: bytes, iv: bytes, *, whole: bool) -> bytes:
    """The plain bytes of a segment, or of its first blocks if it is not ``whole``.

    :raises StreamError: BAD_DATA where key and data do not fit.
    """
    # Loaded only where a room is encrypted.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    usable = len(data) - len(data) % BLOCK
    if len(key) != BLOCK or (whole and (not usable or usable != len(data))):
        raise StreamError(StreamReason.BAD_DATA, "the segment and its key do not fit AES-128")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    plain: bytes = decryptor.update(data[:usable]) + decryptor.finalize()
    if not whole:
        return plain
    padding = plain[-1]
    if not 1 <= padding <= BLOCK or plain[-padding:] != bytes([padding]) * padding:
        raise StreamError(StreamReason.BAD_DATA, "the key does not fit the segment")
    return plain[:-padding]
