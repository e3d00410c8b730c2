using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace Saturn.Engine.Checkpoints;

/// <summary>One array of a safetensors file: row-major float32 values without padding.</summary>
/// <param name="Shape">Extents, outermost first.</param>
/// <param name="Values">The values.</param>
public sealed record SafeTensor(int[] Shape, float[] Values);

/// <summary>
/// The safetensors format: eight bytes with the little-endian length of a JSON header, the header (name → dtype, shape, data_offsets), then the data. Saturn writes and reads float32;
/// arrays of other types are passed over when reading.
/// </summary>
public static class SafeTensors
{
    private const long LargestHeader = 100_000_000;

    /// <summary>Writes a file, under a temporary name first.</summary>
    public static void Write(string path, IReadOnlyDictionary<string, SafeTensor> tensors)
    {
        using MemoryStream json = new();
        using (Utf8JsonWriter writer = new(json))
        {
            long offset = 0;
            writer.WriteStartObject();
            foreach (var (name, tensor) in tensors)
            {
                writer.WriteStartObject(name);
                writer.WriteString("dtype", "F32");
                writer.WriteStartArray("shape");
                foreach (int extent in tensor.Shape)
                {
                    writer.WriteNumberValue(extent);
                }

                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                offset += tensor.Values.LongLength * sizeof(float);
                writer.WriteNumberValue(offset);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        byte[] header = json.ToArray();
        int padded = (header.Length + 7) / 8 * 8;
        string temporary = path + ".tmp";
        try
        {
            using (FileStream file = File.Create(temporary))
            {
                Span<byte> length = stackalloc byte[8];
                BinaryPrimitives.WriteInt64LittleEndian(length, padded);
                file.Write(length);
                file.Write(header);
                file.Write(Encoding.ASCII.GetBytes(new string(' ', padded - header.Length)));
                foreach (SafeTensor tensor in tensors.Values)
                {
                    file.Write(MemoryMarshal.AsBytes(tensor.Values.AsSpan()));
                }
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Reads all float32 arrays of a file.</summary>
    /// <exception cref="CheckpointException">The file is missing, truncated or no safetensors file.</exception>
    public static Dictionary<string, SafeTensor> Read(string path)
    {
        if (!File.Exists(path))
        {
            throw new CheckpointException($"The weights file '{path}' does not exist.");
        }

        byte[] bytes = File.ReadAllBytes(path);
        long header = bytes.Length < 8 ? -1 : BinaryPrimitives.ReadInt64LittleEndian(bytes);
        if (header is < 2 or > LargestHeader || 8 + header > bytes.Length)
        {
            throw new CheckpointException($"'{path}' is truncated or no safetensors file: its header announces {header} bytes, but the file has {bytes.Length}.");
        }

        Dictionary<string, SafeTensor> tensors = [];
        try
        {
            using JsonDocument json = JsonDocument.Parse(bytes.AsMemory(8, (int)header));
            foreach (JsonProperty entry in json.RootElement.EnumerateObject())
            {
                if (entry.Name == "__metadata__" || entry.Value.GetProperty("dtype").GetString() != "F32")
                {
                    continue;
                }

                int[] shape = [.. entry.Value.GetProperty("shape").EnumerateArray().Select(extent => extent.GetInt32())];
                long first = entry.Value.GetProperty("data_offsets")[0].GetInt64();
                long last = entry.Value.GetProperty("data_offsets")[1].GetInt64();
                long expected = shape.Aggregate(4L, (product, extent) => product * extent);
                if (first < 0 || last - first != expected || 8 + header + last > bytes.Length)
                {
                    throw new CheckpointException(
                        $"'{path}' is truncated or damaged: {entry.Name} of shape [{string.Join(", ", shape)}] needs {expected} bytes at {first} … {last}, but {bytes.Length - 8 - header} bytes of data are there.");
                }

                float[] values = new float[expected / 4];
                bytes.AsSpan((int)(8 + header + first), (int)expected).CopyTo(MemoryMarshal.AsBytes(values.AsSpan()));
                tensors[entry.Name] = new SafeTensor(shape, values);
            }
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new CheckpointException($"'{path}' is no safetensors file: its header cannot be read ({exception.Message}).");
        }

        return tensors;
    }
}

/// <summary>A checkpoint or weights file that cannot be used, in one sentence.</summary>
public sealed class CheckpointException(string message) : Exception(message);
