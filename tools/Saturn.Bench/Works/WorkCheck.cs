using System.Runtime.InteropServices;
using Saturn.Kernels;

namespace Saturn.Bench.Works;

/// <summary>Compares what a work leaves behind on a device with what it leaves on another, and with itself, before anything is timed.</summary>
public static class WorkCheck
{
    /// <summary>The largest relative error ‖a − b‖₂/‖b‖₂ that is allowed of a work under a policy.</summary>
    public static double Tolerance(Precision precision, KernelWork work) => work.Limit == WorkLimit.Products
        ? work.Arithmetic(precision) switch
        {
            Precision.Bf16 => 1e-2,
            Precision.Tf32 => 1e-3,
            _ => 1e-5,
        }
        : precision == Precision.Bf16 ? 1e-2 : 1e-5;

    /// <summary>
    /// Runs a work on the device twice and on a reference once. Returns null where the two runs have equal bits and their results agree with the reference, as far as the less exact of both allows; else
    /// what is wrong, first of all the first element that differs.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="reference">The reference, which gets float32 activations.</param>
    /// <param name="work">The work.</param>
    public static string? Against(Device device, Device reference, KernelWork work)
    {
        ElementType activations = ActivationType(device);
        bool rounds = activations == ElementType.BFloat16;
        double tolerance = Math.Max(Tolerance(device.Precision, work), Tolerance(reference.Precision, work));
        List<(WorkResult Result, byte[] Bytes)> first = Run(device, work, new WorkArrays(device, activations, rounds));
        return Compare(device, work, new WorkArrays(device, activations, rounds), (i, _, second) =>
                first[i].Bytes.AsSpan().SequenceEqual(second) ? null : $"{first[i].Result.Name}: two runs differ from byte {first[i].Bytes.AsSpan().CommonPrefixLength(second)} on")
            ?? Compare(reference, work, new WorkArrays(reference, ElementType.Float32, rounds) { AreReference = true }, (i, expected, bytes) =>
                Compare(first[i].Result, first[i].Bytes, expected.Buffer.Type, bytes, tolerance));
    }

    /// <summary>Runs a work on two devices of one policy; null where the results agree: bit for bit with a tolerance of 0, else within that relative error.</summary>
    public static string? Between(Device device, Device reference, KernelWork work, double tolerance)
    {
        ElementType activations = ActivationType(device);
        bool rounds = activations == ElementType.BFloat16;
        List<(WorkResult Result, byte[] Bytes)> actual = Run(device, work, new WorkArrays(device, activations, rounds));
        return Compare(reference, work, new WorkArrays(reference, activations, rounds), (i, expected, bytes) =>
            actual[i].Bytes.AsSpan().SequenceEqual(bytes) ? null : Compare(actual[i].Result, actual[i].Bytes, expected.Buffer.Type, bytes, tolerance));
    }

    /// <summary>The element type of activations on a device.</summary>
    public static ElementType ActivationType(Device device) => device.Precision == Precision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;

    private static List<(WorkResult Result, byte[] Bytes)> Run(Device device, KernelWork work, WorkArrays arrays)
    {
        List<(WorkResult Result, byte[] Bytes)> results = [];
        Compare(device, work, arrays, (_, result, bytes) =>
        {
            results.Add((result, bytes));
            return null;
        });
        return results;
    }

    // Runs a work and hands on its results one by one, since those of large works fill memory; ends at the first objection, and frees the arrays.
    private static string? Compare(Device device, KernelWork work, WorkArrays arrays, Func<int, WorkResult, byte[], string?> objection)
    {
        using (arrays)
        {
            work.Prepare(device, arrays)();
            for (int i = 0; i < arrays.Results.Count; i++)
            {
                WorkResult result = arrays.Results[i];
                byte[] bytes = new byte[result.Shape.StorageCount * result.Buffer.Type.Size()];
                device.Download(result.Buffer, bytes);
                if (objection(i, result, bytes) is { } wrong)
                {
                    return wrong;
                }
            }

            return null;
        }
    }

    private static string? Compare(WorkResult result, byte[] bytes, ElementType expectedType, byte[] expectedBytes, double tolerance)
    {
        ElementType type = result.Buffer.Type;
        Shape shape = result.Shape;
        bool exact = type == ElementType.Int32 || tolerance == 0;
        double difference = 0, length = 0;
        long at = First((value, expected) =>
        {
            double error = value - expected;
            difference += error * error;
            length += expected * expected;
            return double.IsNaN(value) != double.IsNaN(expected) || (exact && !value.Equals(expected));
        });
        if (at >= 0)
        {
            return Describe(at);
        }

        if (tolerance == 0)
        {
            return $"{result.Name}: the padding differs";
        }

        double relative = length == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference / length);
        if (relative <= tolerance)
        {
            return null;
        }

        double scale = Math.Sqrt(length / Math.Max(1, shape.ElementCount));
        at = First((value, expected) => Math.Abs(value - expected) > 4 * tolerance * scale);
        return $"{Describe(Math.Max(at, 0))}; relative error {relative.ToString("0.0e+0", System.Globalization.CultureInfo.InvariantCulture)}, allowed {tolerance.ToString("0e+0", System.Globalization.CultureInfo.InvariantCulture)}";

        // Elements without padding; the place of the first one that is found, as it is stored, or −1.
        long First(Func<double, double, bool> isFound)
        {
            for (int row = 0; row < shape.Rows; row++)
            {
                long start = (long)row * shape.Pitch;
                for (int c = 0; c < shape.Channels; c++)
                {
                    if (isFound(Value(bytes, type, start + c), Value(expectedBytes, expectedType, start + c)))
                    {
                        return start + c;
                    }
                }
            }

            return -1;
        }

        string Describe(long element) => string.Create(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{result.Name}[{element / shape.Pitch}, {element % shape.Pitch}] is {Value(bytes, type, element):G7}, expected {Value(expectedBytes, expectedType, element):G7}");
    }

    private static double Value(byte[] bytes, ElementType type, long element) => type switch
    {
        ElementType.BFloat16 => BFloat16.ToSingle(MemoryMarshal.Cast<byte, ushort>(bytes)[(int)element]),
        ElementType.Float64 => MemoryMarshal.Cast<byte, double>(bytes)[(int)element],
        ElementType.Int32 => MemoryMarshal.Cast<byte, int>(bytes)[(int)element],
        _ => MemoryMarshal.Cast<byte, float>(bytes)[(int)element],
    };
}
