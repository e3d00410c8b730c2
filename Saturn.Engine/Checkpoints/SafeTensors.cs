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
/// The safetensors format: eight bytes with the little-endian length of a JSON header, the header (name → dtype, shape, data_offsets), then the data, each byte of
/// which belongs to exactly one array. Saturn writes and reads float32; integers and truth values, such as batch counters, are passed over when reading, and floats
/// of other widths are refused.
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
            WriteHeader(writer, tensors);
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
    /// <exception cref="CheckpointException">The file is missing, truncated, inconsistent or no safetensors file, or holds floats of another width.</exception>
    public static Dictionary<string, SafeTensor> Read(string path)
    {
        if (!File.Exists(path))
        {
            throw new CheckpointException($"The weights file '{path}' does not exist.");
        }

        using FileStream file = File.OpenRead(path);
        Entry[] entries = ReadHeader(file, path, out long dataStart);
        Dictionary<string, SafeTensor> tensors = [];
        foreach (Entry entry in entries)
        {
            if (entry.Type == "F32")
            {
                float[] values = new float[entry.Length / sizeof(float)];
                file.Position = dataStart + entry.First;
                file.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
                tensors.Add(entry.Name, new SafeTensor(entry.Shape, values));
            }
        }

        return tensors;
    }

    private static void WriteHeader(Utf8JsonWriter writer, IReadOnlyDictionary<string, SafeTensor> tensors)
    {
        long offset = 0;
        writer.WriteStartObject();
        foreach (var (name, tensor) in tensors)
        {
            if (tensor.Shape.Aggregate(1L, (product, extent) => product * extent) != tensor.Values.LongLength)
            {
                throw new ArgumentException($"{name} of shape [{string.Join(", ", tensor.Shape)}] cannot have {tensor.Values.Length} values.", nameof(tensors));
            }

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

    private static Entry[] ReadHeader(FileStream file, string path, out long dataStart)
    {
        Span<byte> lengthBytes = stackalloc byte[8];
        if (file.Length < 8)
        {
            throw new CheckpointException($"'{path}' is no safetensors file: the length of its header takes 8 bytes, but the file has {file.Length}.");
        }

        file.ReadExactly(lengthBytes);
        long length = BinaryPrimitives.ReadInt64LittleEndian(lengthBytes);
        if (length is < 2 or > LargestHeader || 8 + length > file.Length)
        {
            throw new CheckpointException(
                $"'{path}' is truncated or no safetensors file: its header must have 2 to {Math.Min(LargestHeader, file.Length - 8)} bytes, but announces {length}.");
        }

        byte[] header = new byte[length];
        file.ReadExactly(header);
        dataStart = 8 + length;
        List<Entry> entries = [];
        try
        {
            using JsonDocument json = JsonDocument.Parse(header);
            foreach (JsonProperty property in json.RootElement.EnumerateObject())
            {
                if (property.Name != "__metadata__")
                {
                    entries.Add(ReadEntry(property, path));
                }
            }
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or IndexOutOfRangeException or OverflowException)
        {
            throw new CheckpointException($"'{path}' is no safetensors file: its header cannot be read ({exception.Message.TrimEnd('.')}).");
        }

        RequireWholeFile(entries, file.Length - dataStart, path);
        return [.. entries];
    }

    private static Entry ReadEntry(JsonProperty property, string path)
    {
        string type = property.Value.GetProperty("dtype").GetString() ?? "";
        int size = type switch
        {
            "F32" or "I32" or "U32" => 4,
            "I64" or "U64" => 8,
            "I16" or "U16" => 2,
            "BOOL" or "I8" or "U8" => 1,
            _ => throw new CheckpointException($"'{path}' holds {property.Name} as {type}, but weights must be F32; convert the file."),
        };
        int[] shape = [.. property.Value.GetProperty("shape").EnumerateArray().Select(extent => extent.GetInt32())];
        JsonElement offsets = property.Value.GetProperty("data_offsets");
        long first = offsets[0].GetInt64();
        long last = offsets[1].GetInt64();
        long expected = size;
        foreach (int extent in shape)
        {
            expected = checked(expected * (extent >= 0 ? extent : throw new FormatException($"{property.Name} has the extent {extent}")));
        }

        if (first < 0 || last - first != expected)
        {
            throw new CheckpointException(
                $"'{path}' is damaged: {property.Name}, {type} of shape [{string.Join(", ", shape)}], takes {expected} bytes, but its data_offsets are {first} and {last}.");
        }

        return new Entry(property.Name, type, shape, first, expected);
    }

    /// <summary>The arrays must follow each other without gap or overlap and end where the file ends.</summary>
    private static void RequireWholeFile(List<Entry> entries, long dataLength, string path)
    {
        long end = 0;
        HashSet<string> names = [];
        foreach (Entry entry in entries.OrderBy(entry => entry.First).ThenBy(entry => entry.Length))
        {
            if (!names.Add(entry.Name))
            {
                throw new CheckpointException($"'{path}' is damaged: it holds {entry.Name} twice.");
            }

            if (entry.First != end)
            {
                throw new CheckpointException(
                    $"'{path}' is damaged: {entry.Name} must begin at byte {end} of the data, where the array before it ends, but begins at {entry.First}.");
            }

            end += entry.Length;
        }

        if (end != dataLength)
        {
            throw new CheckpointException($"'{path}' is truncated or damaged: its arrays take {end} bytes, but {dataLength} bytes of data are there.");
        }
    }

    private readonly record struct Entry(string Name, string Type, int[] Shape, long First, long Length);
}
