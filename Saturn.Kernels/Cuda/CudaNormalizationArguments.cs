using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Kernels.Cuda;

[KernelArguments("normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct MomentsArguments
{
    public nint Input;
    public nint Partials;
    public int Rows;
    public int RowsOfSlab;
    public int Pitch;
}

[KernelArguments("normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct MergeMomentsArguments
{
    public nint Partials;
    public nint Moments;
    public int Rows;
    public int RowsOfSlab;
    public int Slabs;
    public int Channels;
    public int Pitch;
}

[KernelArguments("normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct PrepareArguments
{
    public nint Moments;
    public nint Gamma;
    public nint Beta;
    public nint RunningMean;
    public nint RunningVariance;
    public nint Saved;
    public int Rows;
    public int Channels;
    public int Pitch;
    public float Epsilon;
    public float Momentum;
}

[KernelArguments("normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ApplyArguments
{
    public nint Input;
    public nint Saved;
    public nint Residual;
    public nint Map;
    public nint Output;
    public Activity Activity;
    public int Rows;
    public int Channels;
    public int Pitch;
    public int ResidualPitch;
    public int Rectifies;
    public float Slope;
}

[KernelArguments("normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct BackwardArguments
{
    public nint Input;
    public nint Saved;
    public nint Output;
    public nint OutputGradient;
    public nint Partials;
    public nint Factors;
    public nint InputGradient;
    public nint ResidualGradient;
    public int Rows;
    public int RowsOfSlab;
    public int Pitch;
    public int Rectifies;
    public float Slope;
    public int AccumulateResidual;
}

[KernelArguments("normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct FactorsArguments
{
    public nint Partials;
    public nint Saved;
    public nint Factors;
    public nint GammaGradient;
    public nint BetaGradient;
    public int Rows;
    public int Slabs;
    public int Channels;
    public int Pitch;
    public int BatchStatistics;
    public int Accumulate;
}

[KernelArguments("normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ResidualGradientArguments
{
    public nint Output;
    public nint OutputGradient;
    public nint InverseMap;
    public nint ResidualGradient;
    public int Rows;
    public int Pitch;
    public int ResidualChannels;
    public int ResidualPitch;
    public int Rectifies;
    public float Slope;
    public int Accumulate;
}
