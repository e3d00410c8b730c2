namespace Saturn.Kernels;

/// <summary>In which arithmetic a CUDA device multiplies; sums, statistics, parameters and their gradients are float32 or better under every policy.</summary>
public enum Precision
{
    /// <summary>Float32 throughout.</summary>
    Fp32,

    /// <summary>Operands of products are rounded to TF32 (10 bits of mantissa) inside the kernels; everything in memory is float32.</summary>
    Tf32,

    /// <summary>
    /// Convolutions and what lies between them keep activations and their gradients in bfloat16 (7 bits of mantissa) and read bfloat16 copies of their filters; other products run as under
    /// <see cref="Tf32"/>.
    /// </summary>
    Bf16,
}

/// <summary>Names of precisions.</summary>
public static class Precisions
{
    /// <summary>The name on the command line: fp32, tf32 or bf16.</summary>
    public static string Name(this Precision precision) => precision.ToString().ToLowerInvariant();
}
