using System.Runtime.InteropServices;
using Saturn.Kernels;

namespace Saturn.Bench.Works;

/// <summary>Compares what a work leaves behind on a device with what it leaves on another, and with itself, before anything is timed.</summary>
public static class WorkCheck
{
    /// <summary>The largest relative error ‖a − b‖₂/‖b‖₂ that is allowed under a policy.</summary>
    public static double Tolerance(Precision precision, WorkLimit limit) => precision switch
    {
        Precision.Bf16 => 1e-2,
        Precision.Tf32 when limit == WorkLimit.Products => 1e-3,
        _ => 1e-5,
    };

    /// <summary>
    /// Runs a work on the device twice and on a reference once. Returns null where the two runs have equal bits and their results agree with the reference; else what is wrong, first of all the first
    /// element that differs.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="reference">The reference, with float32 activations.</param>
    /// <param name="work">The work.</param>
    public static string? Against(Device device, Device reference, KernelWork work)
    {
        ElementType activations = ActivationType(device);
        bool rounds = activations == ElementType.BFloat16;
        List<byte[]> first = Run(device, work, activations, rounds, out IReadOnlyList<WorkResult> results);
        List<byte[]> second = Run(device, work, activations, rounds, out _);
        List<byte[]> expected = Run(reference, work, ElementType.Float32, rounds, out IReadOnlyList<WorkResult> references);
        for (int i = 0; i < results.Count; i++)
        {
            if (!first[i].AsSpan().SequenceEqual(second[i]))
            {
                return $"{results[i].Name}: two runs differ from byte {first[i].AsSpan().CommonPrefixLength(second[i])} on";
            }

            if (Compare(results[i], first[i], references[i], expected[i], Tolerance(device.Precision, work.Limit)) is { } wrong)
            {
                return wrong;
            }
        }

        return null;
    }

    /// <summary>Runs a work on two devices of one policy; null where the results agree: bit for bit with a tolerance of 0, else within that relative error.</summary>
    public static string? Between(Device device, Device reference, KernelWork work, double tolerance)
    {
        ElementType activations = ActivationType(device);
        bool rounds = activations == ElementType.BFloat16;
        List<byte[]> actual = Run(device, work, activations, rounds, out IReadOnlyList<WorkResult> results);
        List<byte[]> expected = Run(reference, work, activations, rounds, out IReadOnlyList<WorkResult> references);
        for (int i = 0; i < results.Count; i++)
        {
            if (!actual[i].AsSpan().SequenceEqual(expected[i]) && Compare(results[i], actual[i], references[i], expected[i], tolerance) is { } wrong)
            {
                return wrong;
            }
        }

        return null;
    }

    /// <summary>The element type of activations on a device.</summary>
    public static ElementType ActivationType(Device device) => device.Precision == Precision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;

    private static List<byte[]> Run(Device device, KernelWork work, ElementType activations, bool rounds, out IReadOnlyList<WorkResult> results)
    {
        using WorkArrays arrays = new(device, activations, rounds);
        work.Prepare(device, arrays)();
        results = arrays.Results;
        return [.. arrays.Results.Select(result =>
        {
            byte[] bytes = new byte[result.Shape.StorageCount * result.Buffer.Type.Size()];
            device.Download(result.Buffer, bytes);
            return bytes;
        })];
    }

    private static string? Compare(WorkResult result, byte[] bytes, WorkResult reference, byte[] expectedBytes, double tolerance)
    {
        double[] values = Values(bytes, result), expected = Values(expectedBytes, reference);
        double difference = 0, length = 0;
        bool exact = result.Buffer.Type == ElementType.Int32;
        for (int i = 0; i < values.Length; i++)
        {
            double error = values[i] - expected[i];
            difference += error * error;
            length += expected[i] * expected[i];
            if (double.IsNaN(values[i]) != double.IsNaN(expected[i]) || (exact && error != 0))
            {
                return Describe(i);
            }
        }

        if (tolerance == 0)
        {
            // Padding may differ where no value does.
            int first = Array.FindIndex([.. values.Zip(expected, (value, wanted) => value.Equals(wanted))], equal => !equal);
            return first >= 0 ? Describe(first) : $"{result.Name}: the padding differs";
        }

        double relative = length == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference / length);
        if (relative <= tolerance)
        {
            return null;
        }

        double scale = Math.Sqrt(length / Math.Max(1, values.Length));
        int at = Array.FindIndex([.. values.Zip(expected, (value, wanted) => Math.Abs(value - wanted))], error => error > 4 * tolerance * scale);
        return $"{Describe(Math.Max(at, 0))}; relative error {relative.ToString("0.0e+0", System.Globalization.CultureInfo.InvariantCulture)}, allowed {tolerance.ToString("0e+0", System.Globalization.CultureInfo.InvariantCulture)}";

        string Describe(int i) => string.Create(
            System.Globalization.CultureInfo.InvariantCulture, $"{result.Name}[{i / result.Shape.Channels}, {i % result.Shape.Channels}] is {values[i]:G7}, expected {expected[i]:G7}");
    }

    // Rows and channels without padding.
    private static double[] Values(byte[] bytes, WorkResult result)
    {
        Shape shape = result.Shape;
        double[] values = new double[shape.ElementCount];
        for (int row = 0, at = 0; row < shape.Rows; row++)
        {
            for (int c = 0; c < shape.Channels; c++, at++)
            {
                int element = row * shape.Pitch + c;
                values[at] = result.Buffer.Type switch
                {
                    ElementType.BFloat16 => BFloat16.ToSingle(MemoryMarshal.Cast<byte, ushort>(bytes)[element]),
                    ElementType.Float64 => MemoryMarshal.Cast<byte, double>(bytes)[element],
                    ElementType.Int32 => MemoryMarshal.Cast<byte, int>(bytes)[element],
                    _ => MemoryMarshal.Cast<byte, float>(bytes)[element],
                };
            }
        }

        return values;
    }
}
